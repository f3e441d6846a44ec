import { expect, test } from 'vitest'
import { quoteNumbers } from '../../src/source/json-numbers.ts'
import type { SourceRelation, SourceTuple } from '../../src/source/source.ts'
import { Wal2jsonDecoder } from '../../src/source/wal2json.ts'
import { recorder, thrownBy } from './recorder.ts'

// Captured from wal2json 2.5 on PostgreSQL 15.
const lines = {
  begin: '{"action":"B","xid":728,"timestamp":"2026-11-22 03:18:37.700511+00","lsn":"0/194A660","nextlsn":"0/194A690"}',
  insert: String.raw`{"action":"I","xid":728,"timestamp":"2026-11-22 03:18:37.700511+00","lsn":"0/194A538","schema":"public","table":"outbox","columns":[{"name":"id","type":"uuid","typeoid":2950,"value":"7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b"},{"name":"n","type":"bigint","typeoid":20,"value":9223372036854775807},{"name":"num","type":"numeric","typeoid":1700,"value":12345678901234567890.12345678901234567890},{"name":"f","type":"double precision","typeoid":701,"value":1e+300},{"name":"b","type":"boolean","typeoid":16,"value":true},{"name":"t","type":"text","typeoid":25,"value":"a\"b\\c\n\t\u0001 é 😀"},{"name":"j","type":"jsonb","typeoid":3802,"value":"{\"a\": 9007199254740993, \"b\": \"é😀\\n\\\"\", \"z\": 1.10}"},{"name":"by","type":"bytea","typeoid":17,"value":"00ff41"},{"name":"nul","type":"text","typeoid":25,"value":null}]}`,
  commit:
    '{"action":"C","xid":728,"timestamp":"2026-11-22 03:18:37.700511+00","lsn":"0/194A660","nextlsn":"0/194A690"}',
}

function decode(...texts: string[]) {
  const { stream, calls } = recorder()
  const wal2json = new Wal2jsonDecoder({ table: { schema: 'public', name: 'outbox' } })
  for (const text of texts) wal2json.decode(Buffer.from(text), stream)
  return calls
}

test('a captured transaction is read with its positions, its time and every column as PostgreSQL prints it', () => {
  const [begin, row, commit] = decode(lines.begin, lines.insert, lines.commit)
  expect(begin![1]).toEqual({
    commitLsn: 0x194a660n,
    commitLsnText: '0/194A660',
    committedAt: '2026-11-22T03:18:37.700511Z',
    committedAtSeconds: Date.parse('2026-11-22T03:18:37Z') / 1000,
  })
  expect(commit).toEqual(['commit', 0x194a660n, 0x194a690n])
  const relation = row![1] as SourceRelation
  expect(relation.columns.map((column) => column.type).join()).toBe(
    'uuid,int8,numeric,float8,bool,text,jsonb,bytea,text',
  )
  expect(row![2]).toEqual([
    '7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b',
    '9223372036854775807',
    '12345678901234567890.12345678901234567890',
    '1e+300',
    't',
    'a"b\\c\n\t\u0001 é 😀',
    '{"a": 9007199254740993, "b": "é😀\\n\\"", "z": 1.10}',
    '\\x00ff41',
    null,
  ])
  const tuple = row![3] as SourceTuple
  expect(tuple.bytes(5)?.length).toBe(tuple.byteLength(5))
  expect(tuple.bytes(8)).toBeNull()
  expect(tuple.byteLength(8)).toBe(0)
})

test('rows of the same shape share their relation, a changed column makes a new one', () => {
  const calls = decode(lines.insert, lines.insert, lines.insert.replace('"name":"n"', '"name":"m"'))
  expect(calls[1]![1]).toBe(calls[0]![1])
  expect(calls[2]![1]).not.toBe(calls[0]![1])
})

test('other actions and other tables are counted and not handed on', () => {
  const other = lines.insert.replace('"table":"outbox"', '"table":"inbox"')
  const actions = ['U', 'D', 'T', 'M'].map((action) => `{"action":"${action}"}`)
  expect(decode(other, ...actions)).toEqual(Array(5).fill(['ignored']))
})

test.each([
  ['an action that nobody knows', '{"action":"X"}', '"X"'],
  ['a text that is not JSON', '{"secret', '8 characters that are not JSON'],
  ['a commit time in another zone', lines.begin.replace('+00', '+02'), '+02'],
  ['a commit time that no calendar has', lines.begin.replace('2026-11', '2026-13'), '2026-13'],
  ['a JSON text that is no object', 'null', 'not a JSON object'],
  ['a row without its table', '{"action":"I","schema":"public","columns":[]}', 'a message I without'],
  ['a row without its columns', '{"action":"I","schema":"public","table":"outbox"}', 'a message I without'],
  ['a column without its value', lines.insert.replace('"value":true', '"walue":true'), 'a message I without'],
  ['a column that holds a list', lines.insert.replace('"value":true', '"value":[true]'), 'a message I without'],
  ['a commit whose LSN is no text', lines.commit.replace('"0/194A690"', '["0/194A690"]'), 'a message C without'],
])('%s is a protocol error', (_name, line, said) => {
  const error = thrownBy(() => decode(line))
  expect(error).toMatchObject({ code: 'SOURCE_PROTOCOL', message: expect.stringContaining(said) })
})

test('a text that is not JSON is not quoted, for it is the data of the application', () => {
  expect(String((thrownBy(() => decode('{"payload":"canary')) as Error).message)).not.toContain('canary')
})

test('special characters of the table name are escaped', () => {
  const wal2json = new Wal2jsonDecoder({ table: { schema: 'we ird', name: 'a.b*,c\\d"é' } })
  expect(Object.fromEntries(wal2json.options)['add-tables']).toBe('we\\ ird.a\\.b\\*\\,c\\\\d\\"é')
})

test('numbers are put in quotes, digit for digit, and strings are left alone', () => {
  expect(quoteNumbers('{"a1":-1.50e+10,"b":["x 1 \\" 2",3,null,true],"c":"\\\\"}')).toBe(
    '{"a1":"-1.50e+10","b":["x 1 \\" 2","3",null,true],"c":"\\\\"}',
  )
})

test('a payload of many megabytes and many escapes does not exhaust the stack', () => {
  const payload = JSON.stringify('{"k":"v"}'.repeat(500_000))
  expect(quoteNumbers(`{"n":1,"p":${payload}}`)).toBe(`{"n":"1","p":${payload}}`)
})
