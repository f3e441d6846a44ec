import { expect, test } from 'vitest'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { createRouting } from '../../src/routing/message.ts'
import type { Source, SourceRow } from '../../src/source/source.ts'
import type { SourceReader } from './source-stage.ts'
import { outboxColumns, standIn, type TableStage, tableStages } from './table-stage.ts'

const open = tableStages()

/** Every column of every row as bytes, with its name and type, by the first. */
function contents({ rows }: SourceReader<Source>): Map<string | null, unknown> {
  const columnsOf = ({ relation, tuple }: SourceRow) => [
    relation.schema,
    relation.table,
    ...relation.columns.map(({ name, type }, index) => [name, type, tuple.bytes(index)?.toString('latin1')]),
  ]
  return new Map(rows.map((row) => [row.tuple.text(0), columnsOf(row)]))
}

/** The rows by the stream and from the table, which must not differ. */
async function readBoth({ read, readTable }: TableStage, count: number) {
  const stream = await read()
  await stream.until(() => stream.rows.length === count)
  const table = await readTable()
  expect(contents(table)).toEqual(contents(stream))
  expect(table.rows.length).toBe(count)
  return { stream, table }
}

/** Defaults of the database that change how values are printed, or end long statements: the connection has its own. */
const strangeSettings = [
  `datestyle = 'SQL, DMY'`,
  `timezone = 'Asia/Kathmandu'`,
  `intervalstyle = 'sql_standard'`,
  `bytea_output = 'escape'`,
  `extra_float_digits = -15`,
  `statement_timeout = '500ms'`,
  `lc_monetary = 'C'`,
]

test('values of all types are byte for byte those of the stream, whatever the database is set to', async () => {
  const stage = await open({
    before: ['CREATE DOMAIN positive AS int CHECK (VALUE > 0)', `CREATE TYPE mood AS ENUM ('sad', E'o"k\\\\\\t')`],
    columns: `${outboxColumns}, j json, b bytea, n numeric, f float8, r float4, d date, t time, tz timetz, ts timestamp,
      i interval, u uuid, a text[], aa int[], bo bool, bits varbit, c char(5), m money, l pg_lsn, net inet, dom positive,
      mood mood, empty text, gen int GENERATED ALWAYS AS (1) STORED`,
  })
  const { rows } = await stage.client.query<{ name: string }>('SELECT current_database() AS name')
  await stage.sql(
    ...strangeSettings.map((setting) => `ALTER DATABASE ${rows[0]!.name} SET ${setting}`),
    `INSERT INTO outbox (id, payload, headers, j, b, n, f, r, d, t, tz, ts, i, u, a, aa, bo, bits, c, m, l, net, dom, mood, empty)
      VALUES (1, E'\\b\\f\\n\\r\\t\\v\\\\ \\\\N \\\\. é😀 \\x7f \\x1b', '{"n": 12345678901234567890123, "f": 1.10, "s": "\\\\ \\"\\u00e9"}',
        E'{ "a" :\\t1,\\n"a": 2 }', '\\x00ff5c4e0a0d09', 1234567890123456789.12345678901234567890, 0.1, 0.1, '2026-01-31',
        '23:59:59.123456', '23:59:59+05:45', '2026-01-31 23:59:59.123456', '1 mon 2 days 03:04:05.6',
        gen_random_uuid(), ARRAY['a\\b', NULL, '"', E'\\t'], '{{1,2},{3,NULL}}', true, B'10101', 'ab', 12.5, '16/B374D848',
        '10.0.0.0/8', 7, E'o"k\\\\\\t', '')`,
    `INSERT INTO outbox (id, payload, created_at, n, f, ts, d) VALUES (2, NULL, 'infinity', 'NaN', '-infinity', '-infinity', '0044-03-15 BC')`,
    `INSERT INTO outbox (id, payload, created_at) VALUES (3, E'\\\\.', '0001-01-01 00:00:00 BC'), (4, E'\\\\N', '12026-01-01')`,
    `INSERT INTO outbox (id, payload) SELECT n, chr(n) FROM generate_series(5, 1200) n`,
  )
  await readBoth(stage, 1200)
})

test('columns that were dropped, added and renamed are read as the stream has them now', async () => {
  const stage = await open()
  await stage.sql(
    'ALTER TABLE outbox DROP COLUMN headers',
    'ALTER TABLE outbox RENAME COLUMN payload TO "Body ""x"""',
    'ALTER TABLE outbox ADD COLUMN later int DEFAULT 7',
    'INSERT INTO outbox (id) VALUES (1)',
  )
  const map = { headers: null, payload: 'Body "x"' }
  const stream = await stage.read()
  await stream.until(() => stream.rows.length === 1)
  const table = await stage.readTable({}, { table: await stage.readable(map) })
  expect(contents(table)).toEqual(contents(stream))
})

test('a row of 16 MB comes whole', async () => {
  const stage = await open()
  await stage.sql(
    `INSERT INTO outbox (id, payload) SELECT 1, string_agg(E'0123456789\\\\\\n', '') FROM generate_series(1, 1400000)`,
  )
  const { table } = await readBoth(stage, 1)
  expect(table.rows[0]!.tuple.byteLength(4)).toBe(16_800_000)
})

test('the partitions of a table come under the name of their root, in one order', async () => {
  const stage = await open({
    columns: outboxColumns.replace(' PRIMARY KEY', ''),
    partitionBy: 'PARTITION BY LIST (id)',
  })
  await stage.sql(
    'CREATE TABLE p1 PARTITION OF outbox FOR VALUES IN (1, 3)',
    'CREATE TABLE p2 (transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(), junk int, id int, aggregate_type text NOT NULL, aggregate_id text NOT NULL, type text NOT NULL, payload text, headers jsonb NOT NULL, created_at timestamptz NOT NULL)',
    'ALTER TABLE p2 DROP COLUMN junk',
    'ALTER TABLE outbox ATTACH PARTITION p2 DEFAULT',
    ...[1, 2, 3, 4].map((id) => `INSERT INTO outbox (id, payload) VALUES (${id}, 'p${id}')`),
  )
  const { table } = await readBoth(stage, 4)
  expect(table.texts()).toEqual(['1', '2', '3', '4'])
})

test('rows of tables that inherit from the outbox are not its own, here as in the stream', async () => {
  const stage = await open()
  await stage.sql(
    'CREATE TABLE heir () INHERITS (outbox)',
    'INSERT INTO heir (id) VALUES (1)',
    'INSERT INTO outbox (id) VALUES (2)',
  )
  const { table } = await readBoth(stage, 1)
  expect(table.texts()).toEqual(['2'])
})

test('a table made for the outbox event router of Debezium is read in the order of its rows', async () => {
  const columns = 'id int, aggregatetype text, aggregateid text, type text, payload jsonb'
  const stage = await open({ columns, map: 'debezium' })
  await stage.sql(`INSERT INTO outbox SELECT n, 'order', '1', 'placed', '{}' FROM generate_series(1, 100) n`)
  const { table } = await readBoth(stage, 100)
  expect(table.texts()).toEqual(Array.from({ length: 100 }, (_, index) => String(index + 1)))
  expect(table.source.orderKeyOf(table.rows[7]!)).toBe('{}')
})

test('rows of the table become the messages of the first time, without the positions that nobody knows', async () => {
  const stage = await open()
  await stage.sql(
    `INSERT INTO outbox (id, payload, headers) VALUES (1, 'a', '{}'), (2, 'b', '{"tenant": "acme", "wal-lsn": "0/1"}')`,
  )
  const { stream, table } = await readBoth(stage, 2)
  const options = {
    columns: resolveColumns('default'),
    exchange: 'x',
    routingKey: '{type}',
    routes: [],
    maxMessageSize: 99,
  }
  const live = createRouting({ ...options, unroutable: 'dead-letter' })
  const again = createRouting({ ...options, unroutable: 'dead-letter', positions: 'unknown', replayId: 'r1' })
  const messages = (routing: typeof live, rows: SourceRow[]) => rows.map((row) => routing.route(row).message!)
  const expected = messages(live, stream.rows).map(({ properties, ...message }) => {
    const { 'wal-lsn': lsn, 'wal-ordinal': ordinal, 'wal-committed-at': committedAt, ...headers } = properties.headers
    expect([lsn, ordinal, committedAt]).not.toContain(undefined)
    return { ...message, properties: { ...properties, headers: { ...headers, 'wal-replay': 'r1' } } }
  })
  expect(messages(again, table.rows)).toEqual(expected)
  expect(expected[1]!.properties.headers).toEqual({
    tenant: 'acme',
    aggregate_type: 'order',
    aggregate_id: '1',
    'wal-replay': 'r1',
  })
})

test('rows are numbered on, under one stand-in position, with created_at as their time', async () => {
  const stage = await open()
  await stage.sql(
    `INSERT INTO outbox (id, created_at) VALUES (1, '2026-01-31 23:59:59.1234+00'), (2, '2026-01-31 23:59:59.1234+00'), (3, 'infinity')`,
  )
  const before = new Date().toISOString()
  const reader = await stage.readTable({}, { firstOrdinal: 7 })
  const [first, second, third] = reader.rows
  expect(reader.rows.map(({ ordinal }) => ordinal)).toEqual([7, 8, 9])
  expect(first!.transaction).toEqual({
    ...standIn,
    committedAt: '2026-01-31T23:59:59.123400Z',
    committedAtSeconds: 1_769_903_999,
  })
  expect(second!.transaction).toBe(first!.transaction)
  expect(third!.transaction.committedAt > before).toBe(true)
  expect(reader.events.at(-1)).toEqual({ kind: 'commit', commitLsn: standIn.commitLsn, endLsn: standIn.commitLsn + 1n })
  expect(reader.source.counters).toMatchObject({ rows: 3, transactions: 1 })
  expect(reader.ends).toEqual([])
  await reader.source.stop()
  expect(reader.ends).toEqual([undefined])
})

test('a timestamp without time zone is taken as UTC', async () => {
  const stage = await open({ columns: outboxColumns.replace('created_at timestamptz', 'created_at timestamp') })
  await stage.sql(`INSERT INTO outbox (id, created_at) VALUES (1, '2026-01-31 23:59:59')`)
  const reader = await stage.readTable({ createdFrom: '2026-01-31T23:59:59Z' })
  expect(reader.rows[0]!.transaction.committedAt).toBe('2026-01-31T23:59:59.000000Z')
})
