import { expect, test } from 'vitest'
import { encodeRow, restoreRow } from '../../src/dead-letter/stored-row.ts'
import type { SourceRow } from '../../src/source/source.ts'
import { outboxRelation, outboxRow, type RowValues } from '../routing/row-fixture.ts'
import { routing } from './fixture.ts'

/** Through the form in which the table holds it. */
function stored(row: SourceRow, body: Buffer): SourceRow {
  const { columns, shape } = encodeRow(row, body)
  return restoreRow({
    table: { schema: 'public', name: 'outbox' },
    columns: JSON.parse(columns),
    shape: JSON.parse(shape),
    body,
    commitLsn: row.transaction.commitLsn,
    ordinal: row.ordinal,
    committedAt: row.transaction.committedAt,
  })
}

const bytea = outboxRelation({ payload: 'bytea' })
const large = 70_000

test.each<[string, RowValues, SourceRow['relation']?]>([
  ['an ordinary row', {}],
  ['NULL and empty columns', { payload: null, headers: null, created_at: '', aggregate_id: '' }],
  ['texts that JSON escapes', { payload: '{"a": "\\u0000 \\ud800 é \\" \\n"}', type: 'naïve\n"x"' }],
  ['a large payload', { payload: `"${'é'.repeat(large)}"` }],
  ['a payload that is not UTF-8', { payload: Buffer.from([0xff, 0xfe, 0x22]) }],
  ['a small bytea', { payload: '\\xdeadbeef' }, bytea],
  ['a large bytea', { payload: `\\x${'ab'.repeat(large)}` }, bytea],
  ['a large bytea in the escape format', { payload: 'a\\000'.repeat(large) }, bytea],
])('%s comes back and is routed to the same message', (_, values, relation) => {
  const row = outboxRow(values, relation === undefined ? {} : { relation })
  const options = { maxMessageSize: 1024 * 1024 }
  const routed = routing(options).route(row)
  const body = routed.message?.body ?? routed.refused?.body
  const again = stored(row, body ?? Buffer.alloc(0))
  const { origin: _origin, ...before } = routed
  const { origin: _again, ...after } = routing(options).route(again)
  expect(after).toEqual(before)
  expect(again.relation.columns).toEqual(row.relation.columns)
  for (const index of row.relation.columns.keys())
    expect(again.tuple.byteLength(index)).toBe(row.tuple.byteLength(index))
})

test('a row refused as too large becomes a message once the limit is raised', () => {
  const row = outboxRow({ payload: 'x'.repeat(100_000) })
  const refused = routing({ maxMessageSize: 50_000 }).route(row)
  const again = stored(row, refused.refused?.body ?? Buffer.alloc(0))
  const { message } = routing({ maxMessageSize: 200_000 }).route(again)
  expect(message).toEqual(routing({ maxMessageSize: 200_000 }).route(row).message)
  expect(message?.body.length).toBe(100_000)
})

test('the payload is kept once, as the body; a column too large to be sent is not kept', () => {
  const row = outboxRow({ payload: '{}' })
  expect(JSON.parse(encodeRow(row, Buffer.from('{}')).columns)).not.toHaveProperty('payload')
  const size = 65 * 1024 * 1024
  const huge: SourceRow = {
    ...row,
    tuple: { ...row.tuple, byteLength: (index) => (index === 2 ? size : row.tuple.byteLength(index)) },
  }
  const { columns, shape } = encodeRow(huge, Buffer.from('{}'))
  expect(JSON.parse(columns)).not.toHaveProperty('aggregate_id')
  expect(JSON.parse(shape)[2]).toEqual({ name: 'aggregate_id', type: 'text', leftOut: size })
  // It must not turn into a NULL that could be sent.
  expect(routing().route(stored(huge, Buffer.from('{}'))).refusal).toMatchObject({
    code: 'EVENT_INVALID',
    text: expect.stringContaining(`${size} bytes long`),
  })
})
