import { createHash } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { openStage, type SourceStage, type StageOptions } from './source-stage.ts'

let stage: SourceStage | undefined
const open = async (options?: StageOptions) => {
  stage = await openStage(options)
  return stage
}
afterEach(() => stage?.close())

test('rows come in commit order, numbered in their transaction, with its time and position', async () => {
  const { client, sql, read } = await open()
  await sql("INSERT INTO outbox VALUES (1, 'a'), (2, NULL)", "INSERT INTO outbox VALUES (3, 'é😀')")
  const reader = await read()
  await reader.until(() => reader.rows.length === 3)
  expect(reader.rows.map((row) => [row.tuple.text(0), row.tuple.text(1), row.ordinal])).toEqual([
    ['1', 'a', 0],
    ['2', null, 1],
    ['3', 'é😀', 0],
  ])
  const [first, , last] = reader.rows
  expect(last!.transaction.commitLsn).toBeGreaterThan(first!.transaction.commitLsn)
  const clock = await client.query<{ seconds: string }>('SELECT extract(epoch FROM now())::text AS seconds')
  expect(Number(clock.rows[0]!.seconds) - last!.transaction.committedAtSeconds).toBeLessThan(30)
  expect(last!.transaction.committedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
})

test('nothing is handed on before the first resume', async () => {
  const { sql, make } = await open()
  await sql('INSERT INTO outbox SELECT generate_series(1, 5000)')
  const reader = make()
  await reader.start({ lsn: 0n, partial: null })
  await sql('INSERT INTO outbox VALUES (0)')
  expect(reader.events).toEqual([])
  reader.source.resume()
  await reader.until(() => reader.rows.length === 5001)
})

test('rolled-back rows and savepoints never come', async () => {
  const { sql, read } = await open()
  await sql(
    'BEGIN',
    'INSERT INTO outbox VALUES (1)',
    'ROLLBACK',
    'BEGIN',
    'INSERT INTO outbox VALUES (2)',
    'SAVEPOINT s',
    'INSERT INTO outbox VALUES (3)',
    'ROLLBACK TO s',
    'INSERT INTO outbox VALUES (4)',
    'COMMIT',
    'INSERT INTO outbox VALUES (5)',
  )
  const reader = await read()
  await reader.until(() => reader.texts().includes('5'))
  expect(reader.rows.map((row) => [row.tuple.text(0), row.ordinal])).toEqual([
    ['2', 0],
    ['4', 1],
    ['5', 0],
  ])
})

test('a row deleted in the transaction that inserted it still comes', async () => {
  const { sql, read } = await open()
  await sql('BEGIN', 'INSERT INTO outbox VALUES (1)', 'DELETE FROM outbox', 'COMMIT')
  const reader = await read()
  await reader.until(() => reader.texts().includes('1'))
})

test('UPDATE, DELETE, TRUNCATE and types of the outbox publish nothing and do not disturb, whatever is published', async () => {
  const { sql, read } = await open({
    columns: "id int PRIMARY KEY, payload text, mood text DEFAULT 'x'",
    publish: "publish = 'insert, update, delete, truncate'",
  })
  await sql(
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    'ALTER TABLE outbox ADD COLUMN m mood',
    "INSERT INTO outbox VALUES (1, 'a', 'x', 'sad')",
    'UPDATE outbox SET id = 2',
    'DELETE FROM outbox',
    'TRUNCATE outbox',
    "SELECT pg_logical_emit_message(true, 'prefix', 'content')",
    "SELECT pg_replication_origin_create(current_database() || '_origin')",
    "SELECT pg_replication_origin_session_setup(current_database() || '_origin')",
    'INSERT INTO outbox VALUES (3)',
    'SELECT pg_replication_origin_session_reset()',
    "SELECT pg_replication_origin_drop(current_database() || '_origin')",
    'INSERT INTO outbox VALUES (4)',
  )
  const reader = await read()
  await reader.until(() => reader.texts().includes('4'))
  expect(reader.texts()).toEqual(['1', '3', '4'])
  // UPDATE, DELETE, TRUNCATE, the Origin, and the Type message of the enum with each Relation message.
  expect(reader.source.counters.ignored).toBeGreaterThanOrEqual(5)
})

test('inserts into other tables of the publication are passed over, without a number', async () => {
  const { sql, read } = await open()
  await sql(
    'CREATE TABLE other (id int)',
    'ALTER PUBLICATION "the pub" ADD TABLE other',
    'BEGIN',
    'INSERT INTO outbox VALUES (1)',
    'INSERT INTO other VALUES (2)',
    'INSERT INTO outbox VALUES (3)',
    'COMMIT',
  )
  const reader = await read()
  await reader.until(() => reader.rows.length === 2)
  expect(reader.rows.map((row) => [row.tuple.text(0), row.ordinal])).toEqual([
    ['1', 0],
    ['3', 1],
  ])
})

test('columns added, dropped, renamed and retyped while streaming are described anew', async () => {
  const { sql, read } = await open()
  const reader = await read()
  await sql(
    "INSERT INTO outbox VALUES (1, 'a')",
    'ALTER TABLE outbox ADD COLUMN extra jsonb DEFAULT \'{"n": 1}\'',
    "INSERT INTO outbox VALUES (2, 'b')",
    'ALTER TABLE outbox DROP COLUMN id',
    "INSERT INTO outbox VALUES ('c')",
    'ALTER TABLE outbox RENAME COLUMN payload TO body',
    'ALTER TABLE outbox ALTER COLUMN body TYPE varchar(9)',
    "INSERT INTO outbox VALUES ('d')",
  )
  await reader.until(() => reader.rows.length === 4)
  const described = reader.rows.map((row) =>
    row.relation.columns.map((column, index) => `${column.name} ${column.type} ${row.tuple.text(index)}`),
  )
  expect(described).toEqual([
    ['id int4 1', 'payload text a'],
    ['id int4 2', 'payload text b', 'extra jsonb {"n": 1}'],
    ['payload text c', 'extra jsonb {"n": 1}'],
    ['body varchar d', 'extra jsonb {"n": 1}'],
  ])
})

test('a table swapped by rename goes on under the same name', async () => {
  const { sql, read } = await open()
  const reader = await read()
  await sql(
    'INSERT INTO outbox VALUES (1)',
    'CREATE TABLE fresh (LIKE outbox)',
    'ALTER PUBLICATION "the pub" ADD TABLE fresh',
    'BEGIN',
    'ALTER TABLE outbox RENAME TO stale',
    'ALTER TABLE fresh RENAME TO outbox',
    'COMMIT',
    'INSERT INTO stale VALUES (2)',
    'INSERT INTO outbox VALUES (3)',
  )
  await reader.until(() => reader.texts().includes('3'))
  expect(reader.texts()).toEqual(['1', '3'])
})

test('rows of partitions come under their root, whatever order their own columns have', async () => {
  const { sql, read } = await open({ partitionBy: 'PARTITION BY RANGE (id)' })
  await sql(
    'CREATE TABLE low PARTITION OF outbox FOR VALUES FROM (0) TO (10)',
    'CREATE TABLE high (payload text, id int)',
    'ALTER TABLE outbox ATTACH PARTITION high FOR VALUES FROM (10) TO (20)',
    "INSERT INTO outbox VALUES (1, 'a'), (11, 'b')",
    'DROP TABLE low',
  )
  const reader = await read()
  await reader.until(() => reader.rows.length === 2)
  expect(reader.rows.map((row) => [row.relation.table, row.tuple.text(0), row.tuple.text(1), row.ordinal])).toEqual([
    ['outbox', '1', 'a', 0],
    ['outbox', '11', 'b', 1],
  ])
})

test('a prepared transaction comes when it is committed, and never when it is rolled back', async (context) => {
  const { client, sql, read, slot } = await open()
  const setting = await client.query("SELECT current_setting('max_prepared_transactions')::int > 0 AS on")
  if (!setting.rows[0].on) return context.skip('max_prepared_transactions is 0 on this server')
  const prepare = (name: string, id: number) =>
    sql('BEGIN', `INSERT INTO outbox VALUES (${id})`, `PREPARE TRANSACTION '${slot}_${name}'`)
  const reader = await read()
  await prepare('a', 1)
  await prepare('b', 2)
  await sql('INSERT INTO outbox VALUES (3)', `ROLLBACK PREPARED '${slot}_a'`, `COMMIT PREPARED '${slot}_b'`)
  await reader.until(() => reader.rows.length === 2)
  expect(reader.texts()).toEqual(['3', '2'])
})

test('payloads keep every byte while the stream is paused and resumed and the receive buffer is used again', async () => {
  const { sql, read } = await open({ columns: 'id int, payload text, sum text' })
  // 2,000 rows of 0 to 16 kB, and one of 1 MB in between.
  await sql(`INSERT INTO outbox SELECT n, p, md5(p) FROM (
    SELECT n, CASE WHEN n = 1000 THEN repeat('x1é😀', 100000)
      ELSE left(repeat(md5(n::text), 512), (hashint4(n) & 16383)) END AS p FROM generate_series(1, 2000) n) s`)
  const reader = await read()
  let batches = 0
  reader.onBatch = () => {
    // Reads on in the same tick, in the next one, or a little later.
    if (batches++ % 3 !== 0) return
    reader.source.pause()
    if (batches % 2 === 0) setImmediate(() => reader.source.resume())
    else setTimeout(() => reader.source.resume(), 1)
  }
  await reader.until(() => reader.rows.length === 2000)
  expect(batches).toBeGreaterThan(20)
  for (const { tuple } of reader.rows) {
    const sum = createHash('md5').update(tuple.bytes(1)!).digest('hex')
    expect(sum, `row ${tuple.text(0)}`).toBe(tuple.text(2))
  }
})

test('a transaction of 100,000 rows is streamed in small batches, with flat memory', async () => {
  const { sql, read } = await open()
  await sql("INSERT INTO outbox SELECT n, repeat('x', 200) FROM generate_series(1, 100000) n")
  const reader = await read()
  reader.keeps = false
  let seen = 0
  let held = 0
  let done = false
  reader.onBatch = (events) => {
    for (const event of events) {
      if (event.kind === 'row') seen++
      else if (event.kind === 'commit' && seen > 0) done = true
    }
    // A consumer that takes its time: nothing may pile up behind it.
    reader.source.pause()
    held = Math.max(held, process.memoryUsage().external + process.memoryUsage().arrayBuffers)
    setImmediate(() => reader.source.resume())
  }
  const before = process.memoryUsage().external + process.memoryUsage().arrayBuffers
  await reader.until(() => done)
  expect(seen).toBe(100_000)
  expect(Math.max(...reader.batches)).toBeLessThan(2000)
  expect(held - before).toBeLessThan(60_000_000)
})
