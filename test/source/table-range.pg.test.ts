import pg from 'pg'
import { expect, test } from 'vitest'
import { countTableSql, type TableRange } from '../../src/source/table-query.ts'
import { eventually } from './source-stage.ts'
import { outboxColumns, type TableStage, tableStages } from './table-stage.ts'

const open = tableStages()

/** Ids of the range, in the order in which they come; the count by SQL must be the same. */
async function idsOf(stage: TableStage, range: TableRange = {}): Promise<string[]> {
  const reader = await stage.readTable(range)
  const { rows } = await stage.client.query<{ rows: string }>(countTableSql(await stage.readable(), range))
  expect(Number(rows[0]!.rows)).toBe(reader.rows.length)
  return reader.texts().map(String)
}

/** A second connection, with a transaction that is open. */
async function beginElsewhere({ url }: TableStage): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {}) // ends with the database
  await client.connect()
  await client.query('BEGIN')
  return client
}

test.each([
  ['xid8', outboxColumns],
  ['int8', outboxColumns.replace('xid8', 'int8').replace('pg_current_xact_id()', 'txid_current()')],
])('a range by snapshots holds what was open at its start and committed later: %s', async (_type, columns) => {
  const stage = await open({ columns })
  await stage.sql('INSERT INTO outbox (id) VALUES (1)')
  const long = await beginElsewhere(stage)
  await long.query('INSERT INTO outbox (id) VALUES (2)')
  const longer = await beginElsewhere(stage)
  await longer.query('INSERT INTO outbox (id) VALUES (3)')
  await stage.sql('INSERT INTO outbox (id) VALUES (4)')
  const from = await stage.snapshot()
  await stage.sql('INSERT INTO outbox (id) VALUES (5)')
  await long.query('COMMIT')
  const to = await stage.snapshot()
  await longer.query('COMMIT')
  await stage.sql('INSERT INTO outbox (id) VALUES (6)')
  await Promise.all([long.end(), longer.end()])

  expect(await idsOf(stage, { notVisibleIn: from })).toEqual(['2', '3', '5', '6'])
  expect(await idsOf(stage, { notVisibleIn: from, visibleIn: to })).toEqual(['2', '5'])
  expect(await idsOf(stage, { visibleIn: from })).toEqual(['1', '4'])
  expect(await idsOf(stage, { visibleIn: to })).toEqual(['1', '2', '4', '5'])
  expect(await idsOf(stage)).toEqual(['1', '2', '3', '4', '5', '6'])
})

test('two transactions on one aggregate come as they committed, though the second has the lower id', async () => {
  const stage = await open()
  await stage.sql('CREATE TABLE aggregate (id int PRIMARY KEY)', 'INSERT INTO aggregate VALUES (1)')
  const second = await beginElsewhere(stage)
  const { rows } = await second.query<{ id: string }>('SELECT pg_current_xact_id()::text AS id')
  await stage.sql('BEGIN', 'SELECT FROM aggregate FOR UPDATE', 'INSERT INTO outbox (id) VALUES (1)', 'COMMIT')
  await second.query('SELECT FROM aggregate FOR UPDATE')
  await second.query('INSERT INTO outbox (id) VALUES (2)')
  await second.query('COMMIT')
  await second.end()
  const reader = await stage.readTable()
  expect(reader.texts()).toEqual(['1', '2'])
  const [first, last] = reader.texts(7).map(Number)
  expect(last).toBe(Number(rows[0]!.id))
  expect(last).toBeLessThan(first!)
})

test('rows that were moved by an UPDATE keep their place; those of one time and transaction stay together', async () => {
  const stage = await open({ columns: outboxColumns.replace('clock_timestamp()', 'now()') })
  await stage.sql(
    'INSERT INTO outbox (id) SELECT generate_series(1, 3)',
    'INSERT INTO outbox (id) VALUES (4)',
    `UPDATE outbox SET payload = 'x' WHERE id = 1`,
  )
  expect(await idsOf(stage)).toEqual(['2', '3', '1', '4'])
})

test('without created_at the order is that of transaction ids', async () => {
  const stage = await open({ map: { created_at: null } })
  await stage.sql(
    `INSERT INTO outbox (id, created_at) VALUES (1, '2026-02-02')`,
    `INSERT INTO outbox (id, created_at) VALUES (2, '2026-01-01')`,
  )
  expect(await idsOf(stage)).toEqual(['1', '2'])
})

test('a table without transaction_id is read by time, with the row at the start and without that at the end', async () => {
  const stage = await open({ map: { transaction_id: null } })
  await stage.sql(
    `INSERT INTO outbox (id, created_at) SELECT n, '2026-01-31 00:00:00+00'::timestamptz + n * interval '1 minute'
      FROM generate_series(1, 9) n`,
  )
  const range = { createdFrom: '2026-01-31T01:03:00+01:00', createdBefore: '2026-01-31T00:06:00Z' }
  expect(await idsOf(stage, range)).toEqual(['3', '4', '5'])
  await expect(stage.readTable({ notVisibleIn: '1:2:' })).rejects.toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
})

test('rows without a time or a transaction id come first, and are in each range', async () => {
  const stage = await open({ columns: outboxColumns.replaceAll(/(created_at \w+|transaction_id \w+) NOT NULL/g, '$1') })
  await stage.sql('INSERT INTO outbox (id) VALUES (1)')
  const snapshot = await stage.snapshot()
  await stage.sql(
    'INSERT INTO outbox (id) VALUES (2)',
    'INSERT INTO outbox (id, created_at, transaction_id) VALUES (3, NULL, NULL)',
    'INSERT INTO outbox (id, created_at) VALUES (4, NULL)',
  )
  expect(await idsOf(stage, { notVisibleIn: snapshot })).toEqual(['3', '4', '2'])
  expect(await idsOf(stage, { visibleIn: snapshot })).toEqual(['3', '1'])
  expect(await idsOf(stage, { createdFrom: '2126-01-01' })).toEqual(['3', '4'])
  const reader = await stage.readTable()
  const keys = reader.rows.map((row) => reader.source.orderKeyOf(row))
  for (const [index, after] of keys.entries()) {
    expect(await idsOf(stage, { after })).toEqual(['3', '4', '1', '2'].slice(index))
  }
})

test('a read goes on at the key of any row, and repeats that row and those that cannot be told from it', async () => {
  const stage = await open()
  await stage.sql(
    `INSERT INTO outbox (id, created_at) SELECT n, '2026-01-31 00:00:00.000001+00'::timestamptz + n / 3 * interval '1 microsecond'
      FROM generate_series(1, 30) n`,
    'UPDATE outbox SET payload = id WHERE id % 2 = 0',
    'INSERT INTO outbox (id) VALUES (31)',
  )
  const all = await stage.readTable()
  const ids = all.texts().map(String)
  expect(ids.length).toBe(31)
  for (const [index, row] of all.rows.entries()) {
    const rest = await stage.readTable({ after: all.source.orderKeyOf(row) })
    const found = rest.texts().map(String)
    expect(found).toEqual(ids.slice(-found.length))
    expect(found.length).toBeGreaterThanOrEqual(31 - index)
    expect(found.length).toBeLessThan(31 - index + 3)
  }
})

test('the row filter of a publication and its list of columns hold for the table as well', async (context) => {
  const stage = await open()
  const { rows: versions } = await stage.client.query(`SELECT current_setting('server_version_num')::int AS version`)
  if (versions[0].version < 150_000) return context.skip('PostgreSQL 14 has neither')
  await stage.sql(
    'ALTER PUBLICATION "the pub" SET TABLE outbox (id, aggregate_type, aggregate_id, type, payload, created_at, transaction_id)' +
      ' WHERE ((hashtext(aggregate_id) & 1) = 0)',
    'INSERT INTO outbox (id, aggregate_id) SELECT n, n::text FROM generate_series(1, 100) n',
  )
  const stream = await stage.read()
  const { rows } = await stage.client.query<{ id: string }>(
    'SELECT id::text FROM outbox WHERE (hashtext(aggregate_id) & 1) = 0 ORDER BY outbox.id',
  )
  const ids = rows.map(({ id }) => id)
  await stream.until(() => stream.rows.length === ids.length)
  expect(stream.texts()).toEqual(ids)
  const table = await stage.readTable({}, { table: await stage.readable({ headers: null }) })
  expect(table.texts()).toEqual(ids)
  expect(table.rows[0]!.relation).toEqual(stream.rows[0]!.relation)
})

test('only rows with wanted values are fetched', async () => {
  const stage = await open()
  await stage.sql(`INSERT INTO outbox (id, type) VALUES (1, 'a'), (2, 'o''b'), (3, 'c')`)
  expect(await idsOf(stage, { only: [{ column: 'type', values: ["o'b", 'c'] }] })).toEqual(['2', '3'])
  expect(await idsOf(stage, { only: [{ column: 'id', values: ['1'] }] })).toEqual(['1'])
})

test('rows are those of an exported snapshot, which may end once the source has started', async () => {
  const stage = await open()
  await stage.sql('INSERT INTO outbox (id) VALUES (1)')
  const exporter = await beginElsewhere(stage)
  await exporter.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
  const { rows } = await exporter.query<{ id: string }>('SELECT pg_export_snapshot() AS id')
  await stage.sql('INSERT INTO outbox (id) VALUES (2)')
  const reader = await stage.makeTable({}, { snapshotId: rows[0]!.id })
  await reader.start({ lsn: 0n, partial: null })
  await exporter.query('COMMIT')
  await exporter.end()
  await stage.sql('DELETE FROM outbox')
  reader.source.resume()
  await eventually(async () => reader.events.some(({ kind }) => kind === 'commit'))
  expect(reader.texts()).toEqual(['1'])
})
