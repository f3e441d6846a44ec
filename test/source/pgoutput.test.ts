import { expect, test } from 'vitest'
import { PgoutputDecoder } from '../../src/source/pgoutput.ts'
import type { SourceRelation, SourceTransaction, SourceTuple } from '../../src/source/source.ts'
import { recorder, thrownBy } from './recorder.ts'

// Captured from PostgreSQL 15 with pg_logical_slot_peek_binary_changes: one transaction on public.outbox with 16 columns.
const hex = {
  begin: '42000000000194a660000303d3b3aeed9f000002d8',
  relation:
    '52000040017075626c6963006f7574626f78006400100069640000000b86ffffffff006e0000000014ffffffff006e756d00000006a4ffffffff006600000002bdffffffff00620000000010ffffffff00740000000019ffffffff007663000000041300000022006a0000000edaffffffff006a730000000072ffffffff0062790000000011ffffffff00747300000004a0ffffffff007800000013cdffffffff006e756c0000000019ffffffff0061727200000003efffffffff0064000000043affffffff00697600000004a2ffffffff',
  insert:
    '49000040014e0010740000002437616639386235352d386534372d343861642d623162312d626133336338613564633962740000001339323233333732303336383534373735383037740000002931323334353637383930313233343536373839302e3132333435363738393031323334353637383930740000000631652b33303074000000017474000000106122625c630a090120c3a920f09f988074000000017674000000357b2261223a20393030373139393235343734303939332c202262223a2022c3a9f09f98805c6e5c22222c20227a223a20312e31307d740000000a7b20226b22203a31207d74000000085c78303066663431740000001d323032362d30312d33312032333a35393a35392e3132333435362b303074000000033732386e74000000057b312c327d740000000a323032362d30312d303174000000053120646179',
  commit: '4300000000000194a660000000000194a690000303d3b3aeed9f',
}

const bytes = (text: string) => Buffer.from(text, 'hex')
const decoder = () => new PgoutputDecoder({ publication: 'wal2rabbit', table: { schema: 'public', name: 'outbox' } })

function decode(...messages: Buffer[]) {
  const { stream, calls } = recorder()
  const pgoutput = decoder()
  for (const message of messages) pgoutput.decode(message, stream)
  return calls
}

test('a captured transaction is read with its positions, its time and every column as PostgreSQL printed it', () => {
  const [begin, row, commit] = decode(bytes(hex.begin), bytes(hex.relation), bytes(hex.insert), bytes(hex.commit))
  const transaction: SourceTransaction = {
    commitLsn: 0x194a660n,
    commitLsnText: '0/194A660',
    committedAt: '2026-11-22T03:18:37.700511Z',
    committedAtSeconds: Date.parse('2026-11-22T03:18:37Z') / 1000,
  }
  expect(begin).toEqual(['begin', transaction])
  expect(commit).toEqual(['commit', 0x194a660n, 0x194a690n])
  const relation = row![1] as SourceRelation
  expect(relation.schema).toBe('public')
  expect(relation.table).toBe('outbox')
  expect(relation.columns.map((column) => `${column.name} ${column.type}`)).toEqual(
    'id uuid,n int8,num numeric,f float8,b bool,t text,vc varchar,j jsonb,js json,by bytea,ts timestamptz,x xid8,nul text,arr _int4,d date,iv interval'.split(
      ',',
    ),
  )
  expect(row![2]).toEqual([
    '7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b',
    '9223372036854775807',
    '12345678901234567890.12345678901234567890',
    '1e+300',
    't',
    'a"b\\c\n\t\u0001 é 😀',
    'v',
    '{"a": 9007199254740993, "b": "é😀\\n\\"", "z": 1.10}',
    '{ "k" :1 }',
    '\\x00ff41',
    '2026-01-31 23:59:59.123456+00',
    '728',
    null,
    '{1,2}',
    '2026-01-01',
    '1 day',
  ])
})

test('bytes and byte length are those of the text form, null and 0 for SQL NULL', () => {
  const [, row] = decode(bytes(hex.begin), bytes(hex.relation), bytes(hex.insert))
  const tuple = row![3] as SourceTuple
  expect(tuple.bytes(5)).toEqual(Buffer.from('a"b\\c\n\t\u0001 é 😀'))
  expect(tuple.byteLength(5)).toBe(16)
  expect(tuple.bytes(12)).toBeNull()
  expect(tuple.text(12)).toBeNull()
  expect(tuple.byteLength(12)).toBe(0)
})

test('a tuple keeps its bytes when the receive buffer is overwritten', () => {
  const insert = bytes(hex.insert)
  const [, row] = decode(bytes(hex.begin), bytes(hex.relation), insert)
  insert.fill(0)
  expect((row![3] as SourceTuple).text(0)).toBe('7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b')
})

test('an OID above 2^31 is read as unsigned', () => {
  const relation = bytes(hex.relation)
  const insert = bytes(hex.insert)
  relation.writeUInt32BE(0xfffffff0, 1)
  insert.writeUInt32BE(0xfffffff0, 1)
  relation.writeUInt32BE(0xf0000001, relation.indexOf('696400', 'hex') + 3)
  const row = decode(bytes(hex.begin), relation, insert)[1]!
  expect((row[1] as SourceRelation).columns[0]).toEqual({ name: 'id', type: 'oid:4026531841' })
})

test('an LSN above 2^32 and the very last one keep all digits', () => {
  const begin = bytes(hex.begin)
  begin.writeBigUInt64BE(0xfedcba9876543210n, 1)
  const transaction = decode(begin)[0]![1] as SourceTransaction
  expect(transaction.commitLsn).toBe(0xfedcba9876543210n)
  expect(transaction.commitLsnText).toBe('FEDCBA98/76543210')
})

test('update, delete, truncate, type, origin and logical message are counted and nothing else', () => {
  // Only the first byte decides: TRUNCATE as captured, the others as their shortest forms.
  const harmless = ['540000000100000040 01', '55', '44', '59', '4f', '4d'].map((text) => bytes(text.replace(' ', '')))
  expect(decode(...harmless)).toEqual(harmless.map(() => ['ignored']))
})

test('an insert into another table of the publication is counted and not handed on', () => {
  const other = bytes(hex.relation)
  other.write('inbox_', other.indexOf('outbox'))
  expect(decode(other, bytes(hex.insert))).toEqual([['ignored']])
})

test('the same table name in another schema is another table', () => {
  const other = bytes(hex.relation)
  other.write('secret', other.indexOf('public'))
  expect(decode(other, bytes(hex.insert))).toEqual([['ignored']])
})

test('a new Relation message makes a new relation, even when nothing has changed', () => {
  const calls = decode(bytes(hex.relation), bytes(hex.insert), bytes(hex.relation), bytes(hex.insert))
  expect(calls[0]![1]).toEqual(calls[1]![1])
  expect(calls[0]![1]).not.toBe(calls[1]![1])
})

test.each([
  ['a kind that nobody asked for', [bytes('53')], 'message of kind S'],
  ['an empty payload', [Buffer.alloc(0)], 'nothing (empty)'],
  ['an unprintable kind', [bytes('01')], '0x01'],
  ['an insert into an undescribed relation', [bytes(hex.insert)], 'relation 16385'],
  ['another number of columns', [bytes(hex.relation), bytes('49000040014e00016e')], '1 columns'],
  ['an old tuple', [bytes(hex.relation), bytes(`${hex.insert.slice(0, 10)}4b${hex.insert.slice(12)}`)], 'tuple kind K'],
  ['unchanged TOAST', [bytes(hex.relation), bytes(`${hex.insert.slice(0, 16)}75${hex.insert.slice(18)}`)], 'kind u'],
  ['bytes behind the last column', [bytes(hex.relation), bytes(`${hex.insert}00`)], 'whose columns take'],
])('%s is a protocol error that says what came', (_name, messages, said) => {
  expect(thrownBy(() => decode(...messages))).toMatchObject({
    code: 'SOURCE_PROTOCOL',
    message: expect.stringContaining(said),
  })
})

test.each([
  ['begin', hex.begin, 4],
  ['relation', hex.relation, 4],
  ['insert', hex.insert, 0],
  ['commit', hex.commit, 8],
])('a %s that is cut short is refused and never read past its end', (_name, message, unread) => {
  const whole = bytes(message)
  for (let length = 1; length < whole.length - unread; length++) {
    // The view ends, the memory behind it goes on: as in the driver's receive buffer.
    const cut = whole.subarray(0, length)
    expect(() => decode(...(message === hex.insert ? [bytes(hex.relation), cut] : [cut])), `${length}`).toThrow()
  }
})

test('the publication name is quoted as an identifier', () => {
  const pgoutput = new PgoutputDecoder({ publication: 'My "pub"', table: { schema: 'public', name: 'outbox' } })
  expect(Object.fromEntries(pgoutput.options)).toEqual({
    proto_version: '1',
    publication_names: '"My ""pub"""',
    messages: 'false',
  })
})
