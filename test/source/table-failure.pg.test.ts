import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { clientConfigFromUrl } from '../../src/base/postgres-url.ts'
import { uniqueName } from '../support/services.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { eventually, fromSlot } from './source-stage.ts'
import { type TableStage, tableStages } from './table-stage.ts'

const open = tableStages()

/** Rows that are larger together than the buffers of two sockets. */
const manyRows = `INSERT INTO outbox (id, payload) SELECT n, repeat('x', 1000) FROM generate_series(1, 50000) n`

async function readersAtWork({ client }: TableStage): Promise<number> {
  const text = `SELECT count(*)::int AS count FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'wal2rabbit table'`
  return (await client.query<{ count: number }>(text)).rows[0]!.count
}

test('while it is paused no row comes, and no timeout of the server ends it', async () => {
  const stage = await open()
  const { rows } = await stage.client.query<{ name: string }>('SELECT current_database() AS name')
  const timeouts = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout']
  await stage.sql(manyRows, ...timeouts.map((name) => `ALTER DATABASE ${rows[0]!.name} SET ${name} = '300ms'`))
  const reader = await stage.makeTable()
  await reader.start(fromSlot)
  // Absence can only be waited for.
  await new Promise((resolve) => setTimeout(resolve, 700))
  expect(reader.events).toEqual([])
  reader.onBatch = () => reader.source.pause()
  reader.source.resume()
  await reader.until(() => reader.rows.length > 0)
  const parsed = reader.rows.length
  await new Promise((resolve) => setTimeout(resolve, 700))
  expect(reader.rows.length).toBe(parsed)
  expect(parsed).toBeLessThan(200)
  expect(reader.ends).toEqual([])
  reader.onBatch = () => {}
  reader.source.resume()
  await reader.until(() => reader.events.at(-1)?.kind === 'commit')
  expect(reader.rows.length).toBe(50_000)
  await eventually(async () => (await readersAtWork(stage)) === 0)
  expect(reader.ends).toEqual([])
})

test('a connection that is cut ends it with what was lost, and the rows before it were handed on', async () => {
  const stage = await open()
  await stage.sql(manyRows)
  const proxy = await startTcpProxy(stage.url)
  const connection = clientConfigFromUrl(proxy.urlFor(stage.url))
  const reader = await stage.makeTable({}, { connection })
  await reader.start(fromSlot)
  proxy.resetAfter(5_000_000, 'to-client')
  reader.source.resume()
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  expect(reader.rows.length).toBeGreaterThan(1000)
  expect(reader.events.every(({ kind }) => kind === 'row')).toBe(true)
  await reader.source.stop()
  expect(reader.ends.length).toBe(1)
  await proxy.close()
})

test('a backend that is terminated ends it', async () => {
  const stage = await open()
  await stage.sql(manyRows)
  const reader = await stage.makeTable()
  await reader.start(fromSlot)
  await stage.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wal2rabbit table'`,
  )
  reader.source.resume()
  expect(await reader.end()).toMatchObject({
    code: expect.stringMatching(/^SOURCE_(SHUTTING_DOWN|CONNECTION_LOST)$/),
  })
})

test('stop leaves at once, and a server that still sorts notices', async () => {
  const stage = await open()
  await stage.sql(
    'CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT pg_sleep(60) IS NOT NULL $$',
    'INSERT INTO outbox (id) VALUES (1)',
  )
  const reader = await stage.makeTable({}, { table: { ...(await stage.readable()), rowFilter: 'slow(id)' } })
  await reader.start(fromSlot)
  reader.source.resume()
  expect(await readersAtWork(stage)).toBe(1)
  await reader.source.stop()
  expect(reader.ends).toEqual([undefined])
  await eventually(async () => (await readersAtWork(stage)) === 0)
  await reader.source.stop()
  expect(reader.ends).toEqual([undefined])
})

test('a handler that throws ends it', async () => {
  const stage = await open()
  await stage.sql(manyRows)
  const reader = await stage.makeTable()
  reader.onBatch = () => {
    throw new Error('too much')
  }
  await reader.start(fromSlot)
  reader.source.resume()
  expect(await reader.end()).toMatchObject({ code: 'UNKNOWN', message: 'too much' })
  expect(reader.batches.length).toBe(1)
})

test('what the server refuses once it is asked comes through onEnd', async () => {
  const stage = await open()
  const table = await stage.readable()
  await stage.sql('INSERT INTO outbox (id) VALUES (1)', 'ALTER TABLE outbox DROP COLUMN payload')
  const reader = await stage.makeTable({}, { table })
  await reader.start(fromSlot)
  reader.source.resume()
  expect(await reader.end()).toMatchObject({ message: expect.stringContaining('column "payload" does not exist') })
})

test('a role that may not read the table is refused, also where a policy would hide rows from it', async () => {
  const stage = await open()
  const role = uniqueName('reader')
  await stage.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`, 'INSERT INTO outbox (id) VALUES (1), (2)')
  try {
    const connection = { ...clientConfigFromUrl(stage.url), user: role, password: 'secret' }
    await expect(stage.readTable({}, { connection })).rejects.toMatchObject({ code: 'SOURCE_PERMISSION_DENIED' })
    await stage.sql(`GRANT SELECT ON outbox TO ${role}`)
    expect((await stage.readTable({}, { connection })).texts()).toEqual(['1', '2'])
    await stage.sql(
      'CREATE POLICY half ON outbox FOR SELECT USING (id = 1)',
      'ALTER TABLE outbox ENABLE ROW LEVEL SECURITY',
    )
    await expect(stage.readTable({}, { connection })).rejects.toMatchObject({
      code: 'SOURCE_PERMISSION_DENIED',
      message: expect.stringContaining('row-level security'),
    })
  } finally {
    await stage.sql(`DROP OWNED BY ${role}`, `DROP ROLE ${role}`)
  }
})

test('start is refused for a snapshot that is gone, a server that is not there, and after stop', async () => {
  const stage = await open()
  const gone = await stage.makeTable({}, { snapshotId: '00000003-0000001B-1' })
  await expect(gone.start(fromSlot)).rejects.toMatchObject({ message: expect.stringContaining('snapshot') })
  const connection = { ...clientConfigFromUrl(stage.url), port: 1 }
  const nobody = await stage.makeTable({}, { connection })
  await expect(nobody.start(fromSlot)).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  const stopped = await stage.makeTable()
  await stopped.source.stop()
  await expect(stopped.start(fromSlot)).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  const early = await stage.makeTable()
  const starting = expect(early.start(fromSlot)).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  await early.source.stop()
  await starting
  expect([gone, nobody, stopped, early].flatMap(({ ends }) => ends)).toEqual([])
  expect(await readersAtWork(stage)).toBe(0)
})

test('settings of the url that would end a long read do not reach it', async () => {
  const stage = await open()
  await stage.sql('INSERT INTO outbox (id) VALUES (1)')
  const url = `${stage.url}?statement_timeout=100&query_timeout=100&idle_in_transaction_session_timeout=100`
  const table = { ...(await stage.readable()), rowFilter: 'pg_sleep(0.5) IS NOT NULL' }
  const reader = await stage.readTable({}, { connection: clientConfigFromUrl(url), table })
  expect(reader.texts()).toEqual(['1'])
})

test('a lock that somebody waits for ends it where it must not be waited for', async () => {
  const stage = await open()
  await stage.sql(`INSERT INTO outbox (id, payload) VALUES (1, 'x')`, 'BEGIN', 'LOCK TABLE outbox')
  const error = new BridgeError('BACKFILL_INCOMPLETE', 'locked')
  const reader = await stage.makeTable({}, { lockTimeout: { after: 100, error: () => error } })
  await reader.start(fromSlot)
  reader.source.resume()
  expect(await reader.end()).toBe(error)
  await stage.sql('ROLLBACK')
})
