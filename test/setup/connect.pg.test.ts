import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { BridgeError } from '../../src/base/errors.ts'
import { connectCheckpoint } from '../../src/setup/checkpoint-connection.ts'
import { attempt, connectControl, endControl, withControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { type FreshDatabase, freePort, freshDatabase, uniqueName } from '../support/services.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

let database: FreshDatabase

beforeAll(async () => {
  database = await freshDatabase()
})

afterAll(() => database.drop())

const control = (changes: object = {}) => ({
  url: database.url,
  applicationName: 'wal2rabbit test',
  statementTimeout: 5000,
  ...changes,
})

test('the statement timeout is ours, also none at all, whatever the default of the role', async () => {
  await withControl(control(), 'preparing', (client) =>
    client.query(`ALTER DATABASE "${database.name}" SET statement_timeout = '50ms'`),
  )
  const shown = (statementTimeout: number) =>
    withControl(
      control({ statementTimeout }),
      'looking',
      async (client) => (await client.query('SHOW statement_timeout')).rows,
    )
  expect(await shown(0)).toEqual([{ statement_timeout: '0' }])
  expect(await shown(5000)).toEqual([{ statement_timeout: '5s' }])
  await expect(
    withControl(control({ statementTimeout: 20 }), 'sleeping', (client) => client.query('SELECT pg_sleep(5)')),
  ).rejects.toMatchObject({ action: 'retry', message: expect.stringContaining('sleeping failed') })
})

test('a connection that breaks is told once, one that is ended is not', async () => {
  const lost: BridgeError[] = []
  let tell = () => {}
  const news = new Promise<void>((resolve) => {
    tell = resolve
  })
  const onLost = (error: BridgeError) => {
    lost.push(error)
    tell()
  }
  const broken = await connectControl(control({ onLost }))
  const { rows } = await broken.query('SELECT pg_backend_pid() AS pid')
  await withControl(control(), 'ending it', (other) => other.query('SELECT pg_terminate_backend($1)', [rows[0].pid]))
  await news
  await endControl(broken)
  expect(lost.map((error) => error.action)).toEqual(['retry'])
  const client = await connectControl(control({ onLost }))
  await endControl(client)
  await endControl(client)
  expect(lost).toHaveLength(1)
})

// A store on a line that drops packets kept its session, and a stop, from ending for as long as TCP tried.
test('an answer that never comes ends the query soon after the statement timeout, and the connection ends as well', async () => {
  const proxy = await startTcpProxy(database.url)
  onTestFinished(() => proxy.close())
  const client = await connectControl(control({ url: proxy.urlFor(database.url), statementTimeout: 100 }))
  proxy.blackhole()
  const asked = performance.now()
  const failure = await attempt('storing', () => client.query('SELECT 1')).catch((error: unknown) => error)
  expect(failure).toMatchObject({ action: 'retry', message: expect.stringContaining('storing failed') })
  await endControl(client)
  expect(performance.now() - asked).toBeLessThan(8000)
})

test('a server that is not there, and a database that is not, have their codes and keep the password to themselves', async () => {
  const nowhere = `postgres://postgres:hunter2@127.0.0.1:${await freePort()}/postgres`
  const failure = await connectControl(control({ url: nowhere })).catch((error: unknown) => error)
  expect(failure).toMatchObject({ code: 'SOURCE_UNREACHABLE', message: expect.not.stringContaining('hunter2') })
  const url = new URL(database.url)
  url.pathname = '/no_such_database'
  await expect(connectControl(control({ url: url.href }))).rejects.toMatchObject({ code: 'SOURCE_DATABASE_MISSING' })
})

test('a server without TLS is refused once TLS is asked for', async () => {
  const url = `${database.url}?sslmode=prefer`
  const { rows } = await withControl(control(), 'looking', (client) => client.query('SHOW ssl'))
  if (rows[0].ssl === 'on') return
  await expect(connectControl(control({ url }))).rejects.toMatchObject({ code: 'SOURCE_TLS_FAILED' })
})

test('a session gets no connection before init, and none from a schema of another version', async () => {
  await expect(connectCheckpoint(control())).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
  await runInit({
    url: database.url,
    slot: uniqueName('connect'),
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap: false,
  })
  const connection = await connectCheckpoint(control())
  await connection.query({ text: `INSERT INTO wal2rabbit.schema_migration VALUES (900, 'next', 'c')` })
  await connection.close()
  await expect(connectCheckpoint(control())).rejects.toMatchObject({ code: 'SCHEMA_NEWER' })
})

test('a session of a process that has streamed before is refused by another cluster, with or without the schema', async () => {
  const refused = { code: 'SYSTEM_CHANGED', message: expect.stringContaining('system identifier 1,') }
  await expect(connectCheckpoint({ ...control(), systemIdentifier: '1' })).rejects.toMatchObject(refused)
  const client = await connectControl(control())
  const { rows } = await client.query('SELECT system_identifier::text AS id FROM pg_control_system()')
  await endControl(client)
  const systemIdentifier = BigInt.asUintN(64, BigInt(rows[0].id)).toString()
  await expect(connectCheckpoint({ ...control(), systemIdentifier })).rejects.toMatchObject({
    code: expect.stringMatching(/^SCHEMA_/),
  })
})
