import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { fineUrls, type Given, problemsOf, temporaryFolder } from './fixture.ts'

const canary = 'c4nary'

test.each<[string, Given]>([
  ['a url with the wrong scheme', { env: { WAL2RABBIT_SOURCE_URL: `mysql://u:${canary}@h/d` } }],
  ['a url with an unescaped slash in its password', { env: { WAL2RABBIT_SOURCE_URL: `postgres://u:a/${canary}@h/d` } }],
  ['a url with an unescaped @ in its password', { env: { WAL2RABBIT_SINK_URL: `amqp://u:a@${canary}@h//x` } }],
  ['one bad url of several', { env: { WAL2RABBIT_SINK_URL: `amqp://u:${canary}@h1,http://u:${canary}@h2` } }],
  ['a list of urls in the file', { yaml: `sink: { url: ['amqp://u:${canary}@h', 5] }` }],
  ['a refused sslmode', { env: { DATABASE_URL: `postgres://u:${canary}@h/d?sslmode=prefer` } }],
  ['a password as a parameter', { env: { DATABASE_URL: `postgres://h/d?sslmode=prefer&password=${canary}` } }],
  ['a password where a url belongs', { env: { WAL2RABBIT_SOURCE_URL: canary } }],
  ['a url in the place of its file', { env: { WAL2RABBIT_SOURCE_URL_FILE: `postgres://u:${canary}@h/d` } }],
  ['a password under an unknown key', { yaml: `source: { password: ${canary} }` }],
  ['a password under an unknown variable', { env: { WAL2RABBIT_SOURCE_PASSWORD: canary } }],
  ['a url under another key', { yaml: `source: { slot: 'postgres://u:${canary}@h/d' }` }],
  ['a password on the command line', { set: [`source.url=postgres://u:${canary}@h/d`] }],
  ['a pass phrase on the command line', { set: [`sink.tls.passphrase=${canary}`] }],
  ['an unknown key on the command line', { set: [`sink.password=${canary}`] }],
  ['a pass phrase of the wrong kind', { yaml: `sink: { tls: { passphrase: [${canary}] } }` }],
  ['broken YAML beside a password', { yaml: `source:\n  url: "postgres://u:${canary}@h/d\n  slot: x` }],
  ['an alias that is a password', { yaml: `source: { url: *${canary} }` }],
])('%s is a problem that does not show it', async (_, given) => {
  const problems = await problemsOf(given)
  expect(problems.length).toBeGreaterThan(0)
  expect(problems.join('\n')).not.toContain(canary)
})

test('a pass phrase is refused on the command line even where all else is fine', async () => {
  const problems = await problemsOf({ env: { AMQP_URL: 'amqps://mq' }, set: ['sink.tls.passphrase=x1y2'] })
  expect(problems.join()).toContain('expected no secret on the command line')
})

test('a url without a password may stand on the command line', async () => {
  expect(await problemsOf({ set: ['source.url=postgres://u@h/d', 'sink.url=amqp://h'] })).toEqual([])
})

test('both a variable and its file are one too many', async () => {
  const env = { WAL2RABBIT_SINK_URL: 'amqp://h', WAL2RABBIT_SINK_URL_FILE: '/x' }
  expect(await problemsOf({ env })).toEqual([
    'sink.url (env WAL2RABBIT_SINK_URL_FILE): expected either WAL2RABBIT_SINK_URL or WAL2RABBIT_SINK_URL_FILE, not both',
  ])
})

test('a rotated password is read anew, and scrubbed from then on', async () => {
  const cwd = await temporaryFolder()
  const file = join(cwd, 'url')
  await writeFile(file, 'postgres://u:first-one@h/d\n')
  const env = { ...fineUrls, WAL2RABBIT_SOURCE_URL_FILE: file }
  const loaded = await loadConfig({ env, cwd })
  expect(await loaded.sourceUrl()).toBe('postgres://u:first-one@h/d')
  expect(loaded.scrub('first-one second-one')).toBe('*** second-one')

  await writeFile(file, 'postgres://u:second-one@h/d\r\n')
  expect(await loaded.sourceUrl()).toBe('postgres://u:second-one@h/d')
  expect(loaded.scrub('first-one second-one')).toBe('*** ***')
})

test('the urls of the broker are read anew as well, and a file is resolved against the working directory', async () => {
  const cwd = await temporaryFolder()
  await writeFile(join(cwd, 'urls'), 'amqp://a:one1@h1,amqp://a:one1@h2')
  const loaded = await loadConfig({ env: { ...fineUrls, WAL2RABBIT_SINK_URL_FILE: 'urls' }, cwd })
  await writeFile(join(cwd, 'urls'), 'amqp://a:two2@h3')
  expect(await loaded.sinkUrls()).toEqual(['amqp://a:two2@h3'])
})

test('a secret that can no longer be read, or is no url any more, is an error of its own without its content', async () => {
  const cwd = await temporaryFolder()
  const file = join(cwd, 'url')
  await writeFile(file, 'postgres://u:first-one@h/d')
  const loaded = await loadConfig({ env: { ...fineUrls, WAL2RABBIT_SOURCE_URL_FILE: file }, cwd })
  await writeFile(file, canary)
  const failure = await loaded.sourceUrl().catch((error: Error) => error)
  expect(failure).toMatchObject({ code: 'SECRET_UNREADABLE', action: 'halt-retry' })
  expect((failure as Error).message).not.toContain(canary)
  await rm(file)
  await expect(loaded.sourceUrl()).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' })
})

test('urls that no file gave stay what they were', async () => {
  const loaded = await loadConfig({ env: fineUrls, cwd: await temporaryFolder() })
  expect([await loaded.sourceUrl(), await loaded.sinkUrls()]).toEqual([fineUrls.DATABASE_URL, [fineUrls.AMQP_URL]])
})

test('the YAML parser warns of nothing on its own: what it would print is the text itself', async () => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => void warnings.push(warning)
  process.on('warning', onWarning)
  onTestFinished(() => void process.off('warning', onWarning))
  await problemsOf({ yaml: `? { url: postgres://u:${canary}@h/d }\n: 1` })
  await problemsOf({ set: [`sink.url=!x ${canary}`] })
  await new Promise((resolve) => setImmediate(resolve))
  expect(warnings).toEqual([])
})
