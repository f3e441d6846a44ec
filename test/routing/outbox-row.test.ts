import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { type ColumnMap, columnPresets, resolveColumns } from '../../src/routing/column-map.ts'
import { compileReader } from '../../src/routing/outbox-row.ts'
import type { SourceRelation } from '../../src/source/source.ts'
import { outboxRelation, relationOf } from './row-fixture.ts'

const debeziumTable = relationOf('sales', 'outboxevent', {
  id: 'uuid',
  aggregatetype: 'varchar',
  aggregateid: 'varchar',
  type: 'varchar',
  payload: 'jsonb',
})

test('the default preset reads the default table', () => {
  const reader = compileReader(outboxRelation(), columnPresets.default)
  expect(reader.table).toBe('public.outbox')
  expect(reader.index).toMatchObject({ id: 0, payload: 4, headers: 5, created_at: 6, transaction_id: 7 })
  expect(reader.index).toMatchObject({ exchange: -1, routing_key: -1, priority: -1 })
})

test('the debezium preset reads a table made for its event router, which has neither headers nor time', () => {
  const { index } = compileReader(debeziumTable, columnPresets.debezium)
  expect(index).toMatchObject({ id: 0, aggregate_type: 1, aggregate_id: 2, type: 3, payload: 4 })
  expect(index).toMatchObject({ headers: -1, created_at: -1, transaction_id: -1 })
})

test('columns are found by name wherever they stand', () => {
  const moved = relationOf('public', 'outbox', {
    note: 'text',
    ...Object.fromEntries([...outboxRelation().columns].reverse().map(({ name, type }) => [name, type])),
  })
  expect(compileReader(moved, columnPresets.default).index).toMatchObject({ id: 8, payload: 4 })
})

test('a map overrides single names of the default preset, and null takes one out', () => {
  expect(resolveColumns('default')).toEqual(columnPresets.default)
  expect(resolveColumns({ id: 'event_id', headers: null, exchange: 'target', type: undefined })).toEqual({
    ...columnPresets.default,
    id: 'event_id',
    headers: null,
    exchange: 'target',
  })
})

test('a mapped column that the table does not have halts with its name and what there is', () => {
  const error = caught(debeziumTable, columnPresets.default)
  expect(error.code).toBe('COLUMN_MISSING')
  expect(error.message).toContain('sales.outboxevent')
  expect(error.message).toContain('"aggregate_type"')
  expect(error.message).toContain('as aggregate_type')
  expect(error.message).toContain('"aggregatetype", "aggregateid"')
})

test('a mapped optional column that the table does not have halts too', () => {
  const error = caught(outboxRelation(), resolveColumns({ priority: 'urgency' }))
  expect(error.code).toBe('COLUMN_MISSING')
  expect(error.message).toContain('"urgency", which source.columns maps as priority')
})

test('of several names of a column the first that the relation has is read', () => {
  const map = resolveColumns({ payload: ['body', 'payload'], headers: ['meta', 'headers'] })
  const names = (relation: SourceRelation) => {
    const { index } = compileReader(relation, map)
    return [relation.columns[index.payload]!.name, relation.columns[index.headers]!.name]
  }
  expect(names(outboxRelation())).toEqual(['payload', 'headers'])
  expect(names(outboxRelation({ body: 'text' }))).toEqual(['body', 'headers'])
  expect(names(outboxRelation({ meta: 'jsonb', body: 'jsonb' }))).toEqual(['body', 'meta'])
})

test('a column of which the relation has none of the names halts with all of them', () => {
  const error = caught(outboxRelation(), resolveColumns({ payload: ['body', 'content'] }))
  expect(error.code).toBe('COLUMN_MISSING')
  expect(error.message).toContain('no column "body" or "content", which source.columns maps as payload')
})

test('the type that counts is that of the name which is read', () => {
  const map = resolveColumns({ payload: ['body', 'payload'] })
  expect(compileReader(outboxRelation({ body: 'bytea' }), map).payload.bytea).toBe(true)
  expect(caught(outboxRelation({ body: 'int4' }), map).message).toContain('column "body" of table public.outbox')
})

test('a missing column is told of the table as it is, or of the row that was written without it', () => {
  const map = resolveColumns({ payload: 'body' })
  expect(caught(outboxRelation(), map).message).toMatch(/^table public\.outbox has no column "body"/)
  expect(caught(outboxRelation(), map, '16/B374D848').message).toMatch(
    /^a row of table public\.outbox, committed at 16\/B374D848, has no column "body".* when it was written .*"payload"/,
  )
})

test('names are compared exactly, as PostgreSQL stores them', () => {
  expect(caught(outboxRelation(), resolveColumns({ id: 'ID' })).code).toBe('COLUMN_MISSING')
})

test.each([
  ['json', 'application/json', false],
  ['jsonb', 'application/json', false],
  ['text', 'text/plain; charset=utf-8', false],
  ['varchar', 'text/plain; charset=utf-8', false],
  ['bpchar', 'text/plain; charset=utf-8', false],
  ['bytea', 'application/octet-stream', true],
])('a payload of type %s is sent as %s', (type, contentType, bytea) => {
  const reader = compileReader(outboxRelation({ payload: type }), columnPresets.default)
  expect(reader.payload).toEqual({ contentType, bytea })
})

test.each([
  ['payload', 'hstore'],
  ['payload', 'int4'],
  ['payload', 'oid:16999'],
  ['headers', 'hstore'],
  ['headers', 'bytea'],
  ['created_at', 'int8'],
  ['created_at', 'date'],
])('the column %s of type %s halts with the types that would do', (column, type) => {
  const error = caught(outboxRelation({ [column]: type }), columnPresets.default)
  expect(error.code).toBe('COLUMN_TYPE')
  expect(error.message).toContain(`column "${column}" of table public.outbox is of type ${type}`)
  expect(error.message).toContain('must be one of')
})

function caught(relation: SourceRelation, columns: ColumnMap, commitLsn?: string): BridgeError {
  try {
    compileReader(relation, columns, commitLsn)
  } catch (error) {
    if (error instanceof BridgeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
