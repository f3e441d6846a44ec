import { expect, test } from 'vitest'
import type { TableColumn } from '../../src/source/table.ts'
import { type ReadableTable, TableOrder } from '../../src/source/table-order.ts'
import { copyTableSql, countTableSql } from '../../src/source/table-query.ts'
import { BufferTuple } from '../../src/source/wal-tuple.ts'
import { thrownBy } from './recorder.ts'

function column(name: string, type: string, notNull = true): TableColumn {
  return { name, type, notNull, generated: false }
}

function readable(changes: Partial<ReadableTable> = {}): ReadableTable {
  return {
    table: { schema: 'public', name: 'outbox' },
    partitioned: false,
    columns: [column('id', 'uuid'), column('created_at', 'timestamptz'), column('transaction_id', 'xid8')],
    createdAt: 'created_at',
    transactionId: 'transaction_id',
    rowFilter: undefined,
    ...changes,
  }
}

const nullable = readable({
  columns: [column('at', 'timestamp', false), column('xid', 'int8', false)],
  createdAt: 'at',
  transactionId: 'xid',
})

test('all rows of the table itself, in order', () => {
  expect(copyTableSql(readable(), {})).toBe(
    'COPY (SELECT "id", "created_at", "transaction_id" FROM ONLY "public"."outbox"' +
      ' ORDER BY "created_at", "transaction_id", ctid) TO STDOUT',
  )
})

test('a partitioned table is read with its partitions', () => {
  const table = readable({ partitioned: true, createdAt: undefined })
  expect(copyTableSql(table, {})).toContain('FROM "public"."outbox" ORDER BY "transaction_id", tableoid, ctid')
})

test('a range by snapshots asks each, and lets an index on the column help', () => {
  const sql = countTableSql(readable(), { notVisibleIn: '742:751:745,748', visibleIn: '800:801:' })
  expect(sql).toBe(
    `SELECT count(*)::text AS rows FROM ONLY "public"."outbox" WHERE` +
      ` ("transaction_id" >= '742'::xid8 AND NOT pg_visible_in_snapshot("transaction_id", '742:751:745,748'))` +
      ` AND ("transaction_id" < '801'::xid8 AND pg_visible_in_snapshot("transaction_id", '800:801:'))`,
  )
})

test('where a column may be NULL such rows come first, and are in each range', () => {
  const range = { notVisibleIn: '7:9:', createdFrom: '2026-01-31T23:59:59+01:00' }
  expect(copyTableSql(nullable, range)).toContain(
    ` WHERE ("xid" IS NULL OR "xid" >= '7'::int8 AND NOT pg_visible_in_snapshot("xid"::text::xid8, '7:9:'))` +
      ` AND ("at" IS NULL OR "at" >= '2026-01-31T22:59:59.000000Z'::timestamp)` +
      ` ORDER BY coalesce("at", '-infinity'::timestamp), coalesce("xid", '0'::int8), ctid`,
  )
})

test('the row filter of the publication and wanted values narrow it, values of other types are left to the reader', () => {
  const table = readable({
    columns: [...readable().columns, column('type', 'bpchar')],
    rowFilter: "(kind = 'a'::text)",
  })
  const only = [
    { column: 'id', values: ['a', "o'b"] },
    { column: 'type', values: ['x'] },
  ]
  expect(countTableSql(table, { only })).toMatch(
    / WHERE \(\(kind = 'a'::text\)\) AND \("id"::text IN \('a', 'o''b'\)\)$/,
  )
})

test('a key leads back to its row, those that are equal and all that come after', () => {
  const order = new TableOrder(nullable)
  const text = Buffer.from("2026-01-31 00:00:00.1o'")
  const key = order.keyOf(new BufferTuple(text, [0, text.length, -1, -1]))
  expect(key).toBe(`{"at":"2026-01-31 00:00:00.1o'","xid":null}`)
  expect(order.fromSql(key)).toBe(
    `(coalesce("at", '-infinity'::timestamp), coalesce("xid", '0'::int8)) >=` +
      ` ('2026-01-31 00:00:00.1o'''::timestamp, '0'::int8)`,
  )
})

test('a table with neither column has no order but its place, and a read of it begins anew', () => {
  const order = new TableOrder(readable({ createdAt: undefined, transactionId: undefined }))
  expect([order.isKnown, order.sql, order.fromSql('{}')]).toEqual([false, 'ctid', 'true'])
})

test.each(['', '7', 'null', '[]', '{}', '{"created_at":"x"}', '{"created_at":1,"transaction_id":"1"}'])(
  'the key %s is refused',
  (key) => {
    expect(thrownBy(() => new TableOrder(readable()).fromSql(key))).toMatchObject({ code: 'POSITION_UNKNOWN' })
  },
)

test('a range that the table has no column for is refused', () => {
  const table = readable({ createdAt: undefined, transactionId: undefined })
  for (const range of [{ notVisibleIn: '1:2:' }, { visibleIn: '1:2:' }, { createdFrom: '2026-01-31' }]) {
    expect(thrownBy(() => copyTableSql(table, range))).toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
  }
})

test('a column that cannot be sorted by as it would have to is refused', () => {
  const columns = [column('created_at', 'date'), column('transaction_id', 'xid')]
  for (const changes of [{ createdAt: undefined }, { transactionId: undefined }]) {
    const work = () => new TableOrder(readable({ columns, ...changes }))
    expect(thrownBy(work)).toMatchObject({ code: 'COLUMN_TYPE' })
  }
})
