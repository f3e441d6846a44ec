import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { clientConfigFromUrl, describePostgresUrl } from '../../src/base/postgres-url.ts'

const rootCert = join(mkdtempSync(join(tmpdir(), 'wal2rabbit-url-')), 'root.crt')
writeFileSync(rootCert, 'certificate')

function tls(url: string): ConnectionOptions {
  const { ssl } = clientConfigFromUrl(url)
  expect(ssl).toBeTypeOf('object')
  return ssl as ConnectionOptions
}

test('a url gives host, port, database, user and decoded password', () => {
  expect(clientConfigFromUrl('postgresql://app:p%40ss@db.example.org:6432/shop')).toMatchObject({
    host: 'db.example.org',
    port: 6432,
    database: 'shop',
    user: 'app',
    password: 'p@ss',
  })
})

test.each(['prefer', 'require', 'no-verify'])('sslmode=%s encrypts without checking the certificate', (mode) => {
  expect(tls(`postgres://a@h/db?sslmode=${mode}`).rejectUnauthorized).toBe(false)
})

test.each(['require', 'verify-ca'])(
  'sslmode=%s with a root certificate checks the issuer, not the host name',
  (mode) => {
    const options = tls(`postgres://a@h/db?sslmode=${mode}&sslrootcert=${rootCert}`)
    expect(options.ca).toBe('certificate')
    expect(options.rejectUnauthorized).toBeUndefined()
    expect(options.checkServerIdentity?.('h', {} as never)).toBeUndefined()
  },
)

test.each(['sslmode=verify-full', `sslmode=verify-full&sslrootcert=${rootCert}`, `sslrootcert=${rootCert}`])(
  '%s checks issuer and host name',
  (query) => {
    const options = tls(`postgres://a@h/db?${query}`)
    expect(options.rejectUnauthorized).toBeUndefined()
    expect(options.checkServerIdentity).toBeUndefined()
  },
)

test('sslmode=disable is plain', () => {
  expect(clientConfigFromUrl('postgres://a@h/db?sslmode=disable').ssl).toBe(false)
})

test('connect_timeout is in seconds', () => {
  expect(clientConfigFromUrl('postgres://a@h/db?connect_timeout=7').connectionTimeoutMillis).toBe(7000)
})

test.each([
  ['host=h user=a', 'begin with postgres://'],
  ['postgres://a:secret@h/db?sslmode=Require', 'expected one of disable, prefer, require'],
  ['postgres://a:secret@h/db?sslmode=allow', 'expected one of disable, prefer, require'],
  ['postgres://a:secret@h/db?ssl=yes', 'expected true, false or no-verify'],
  ['postgres://a:secret@h/db?sslmode=verify-ca', 'sslrootcert'],
  ['postgres://a:secret@h/db?sslrootcert=/nowhere/root.crt', '/nowhere/root.crt'],
  ['postgres://a:secret@h/db?connect_timeout=soon', 'whole seconds'],
  ['postgres://a:secret@h:notaport/db', 'Invalid URL'],
])('%s is refused, and the password stays out of the message', (url, reason) => {
  const error = capture(() => clientConfigFromUrl(url))
  expect(error).toBeInstanceOf(BridgeError)
  expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
  expect((error as Error).message).toContain(reason)
  expect(String((error as Error).message) + String((error as Error).cause)).not.toContain('secret')
})

test('a url is described by its place alone', () => {
  expect(describePostgresUrl('postgres://app:secret@db/shop')).toBe('db:5432/shop')
})

function capture(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
