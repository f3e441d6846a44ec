import { expect, test } from 'vitest'
import { columnPresets, resolveColumns } from '../../src/routing/column-map.ts'
import { headerTable_bytes_max } from '../../src/routing/header-size.ts'
import { createRouting, type RoutingOptions } from '../../src/routing/message.ts'
import type { RefusedRow, RoutedMessage } from '../../src/routing/routing.ts'
import type { SourceRow } from '../../src/source/source.ts'
import { encodeHeaders, encodePublish } from './amqp-encoder.ts'
import { outboxRelation, outboxRow, type RowOptions, type RowValues, relationOf } from './row-fixture.ts'

const options: RoutingOptions = {
  columns: columnPresets.default,
  exchange: 'outbox',
  routingKey: '{aggregate_type}.{type}',
  routes: [],
  maxMessageSize: 1024 * 1024,
  unroutable: 'dead-letter',
}

const extraColumns = {
  exchange: 'text',
  routing_key: 'text',
  content_type: 'text',
  correlation_id: 'text',
  expiration: 'text',
  priority: 'int4',
}
const extraRelation = outboxRelation(extraColumns)
const extraOptions: Partial<RoutingOptions> = {
  columns: resolveColumns(Object.fromEntries(Object.keys(extraColumns).map((name) => [name, name]))),
}

function routed(values: RowValues = {}, changes: Partial<RoutingOptions> = {}, row: RowOptions = {}): RoutedMessage {
  return expectRouted(createRouting({ ...options, ...changes }).route(outboxRow(values, row)))
}

function refused(values: RowValues, changes: Partial<RoutingOptions> = {}, row: RowOptions = {}): RefusedRow {
  const event = createRouting({ ...options, ...changes }).route(outboxRow(values, row))
  if (event.refusal === undefined) throw new Error('the row was not refused')
  return event
}

function withExtra(values: RowValues, changes: Partial<RoutingOptions> = {}): RoutedMessage {
  return routed(values, { ...extraOptions, ...changes }, { relation: extraRelation })
}

function expectRouted(event: RoutedMessage | RefusedRow): RoutedMessage {
  if (event.message === undefined) throw new Error(`the row was refused: ${event.refusal.text}`)
  return event
}

test('a row becomes the documented message', () => {
  const event = routed({ headers: '{"tenant": "acme"}' }, {}, { ordinal: 7 })
  expect(event).toMatchObject({
    commitLsn: 0x16_b374_d848n,
    ordinal: 7,
    committedAtSeconds: 1_769_903_999,
    unroutable: 'dead-letter',
    eventId: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
    aggregateType: 'order',
    aggregateId: '42',
    type: 'placed',
  })
  expect(event.message).toEqual({
    exchange: 'outbox',
    routingKey: 'order.placed',
    body: Buffer.from('{"total": 12}'),
    properties: {
      messageId: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
      type: 'placed',
      contentType: 'application/json',
      timestamp: 1_769_903_998,
      appId: 'wal2rabbit',
      persistent: true,
      mandatory: true,
      headers: {
        tenant: 'acme',
        aggregate_type: 'order',
        aggregate_id: '42',
        'wal-lsn': '16/B374D848',
        'wal-ordinal': 7,
        'wal-committed-at': '2026-01-31T23:59:59.123456Z',
      },
    },
  })
})

test('a table made for Debezium needs nothing else', () => {
  const relation = relationOf('public', 'outboxevent', {
    id: 'uuid',
    aggregatetype: 'varchar',
    aggregateid: 'varchar',
    type: 'varchar',
    payload: 'jsonb',
  })
  const event = routed({ aggregatetype: 'cart', aggregateid: '9' }, { columns: columnPresets.debezium }, { relation })
  expect(event.message.routingKey).toBe('cart.placed')
  expect(event.message.properties.timestamp).toBe(1_769_903_999)
})

test('the same row gives the same message again', () => {
  const routing = createRouting(options)
  const row = outboxRow({ headers: '{"a": 1}' })
  expect(routing.route(row)).toEqual(routing.route(row))
})

test.each([
  ['jsonb', '{"a": 1.0,  "z": 12345678901234567890}', '{"a": 1.0,  "z": 12345678901234567890}'],
  ['text', ' grüße 😀 ', ' grüße 😀 '],
  ['bytea', '\\x00ff5c', '\u0000ÿ\\'],
  ['jsonb', null, ''],
  ['bytea', null, ''],
])('a %s payload %j is the body %j', (type, payload, body) => {
  const sent = routed({ payload }, {}, { relation: outboxRelation({ payload: type }) }).message.body
  expect(sent).toEqual(Buffer.from(body, type === 'bytea' ? 'latin1' : 'utf8'))
})

test('bytes that are not UTF-8 reach the body untouched', () => {
  const payload = Buffer.from([0xff, 0xfe, 0x80])
  expect(routed({ payload }).message.body).toEqual(payload)
})

test('the time of a row without a usable created_at is its commit time', () => {
  for (const created_at of [null, 'infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '1969-01-01 00:00:00+00']) {
    expect(routed({ created_at }).message.properties.timestamp).toBe(1_769_903_999)
  }
  const columns = resolveColumns({ created_at: null })
  expect(routed({}, { columns }).message.properties.timestamp).toBe(1_769_903_999)
})

test('a row cannot overwrite what the bridge says in headers', () => {
  const headers =
    '{"aggregate_type": "x", "aggregate_id": 1, "wal-lsn": "0/0", "wal-ordinal": -1, "wal-committed-at": null, "wal-replay": "r", "wal-x": 1}'
  expect(routed({ headers }).message.properties.headers).toEqual(routed().message.properties.headers)
})

test('the header wal-replay is on the messages of a replay and on no other', () => {
  expect(routed().message.properties.headers).not.toHaveProperty('wal-replay')
  for (const headers of ['{}', '{"wal-replay": "forged"}']) {
    const replayed = routed({ headers }, { replayId: 'r-1' })
    expect(replayed.message.properties.headers['wal-replay']).toBe('r-1')
  }
})

test('traceparent and tracestate pass through', () => {
  const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=1,b=2' }
  expect(routed({ headers: JSON.stringify(trace) }).message.properties.headers).toMatchObject(trace)
})

test('the correlation id is the column’s, else the header’s when that is a string', () => {
  expect(routed().message.properties).not.toHaveProperty('correlationId')
  expect(routed({ headers: '{"correlation_id": 7}' }).message.properties).not.toHaveProperty('correlationId')
  const header = { headers: '{"correlation_id": "h"}' }
  expect(routed(header).message.properties).toMatchObject({ correlationId: 'h', headers: { correlation_id: 'h' } })
  expect(withExtra({ ...header, correlation_id: 'c' }).message.properties.correlationId).toBe('c')
  expect(withExtra({ ...header, correlation_id: null }).message.properties.correlationId).toBe('h')
})

test('exchange and routing key are the row’s, then the route’s, then the default', () => {
  const route = { routes: [{ type: 'placed', exchange: 'sales', routingKey: 'r.{aggregate_id}' }] }
  expect(withExtra({ exchange: 'mine', routing_key: 'k' }, route).message).toMatchObject({
    exchange: 'mine',
    routingKey: 'k',
  })
  expect(withExtra({ exchange: null, routing_key: null }, route).message).toMatchObject({
    exchange: 'sales',
    routingKey: 'r.42',
  })
  expect(withExtra({ type: 'paid' }, route).message).toMatchObject({ exchange: 'outbox', routingKey: 'order.paid' })
  expect(withExtra({ exchange: '', routing_key: '' }, route).message).toMatchObject({ exchange: '', routingKey: '' })
})

test('a route’s headers are defaults, its policy is the event’s', () => {
  const routes = [{ headers: { team: 'sales', tenant: 'none' }, unroutable: 'drop' as const }]
  const event = routed({ headers: '{"tenant": "acme"}' }, { routes })
  expect(event.message.properties.headers).toMatchObject({ team: 'sales', tenant: 'acme' })
  expect(event.unroutable).toBe('drop')
  expect(routed({}, { routes }).message.properties.headers).toMatchObject({ team: 'sales', tenant: 'none' })
})

test('a route’s headers are not changed by the messages that carry them', () => {
  const routing = createRouting({ ...options, routes: [{ headers: { team: 'sales' } }] })
  const first = expectRouted(routing.route(outboxRow({}, { ordinal: 1 })))
  const second = expectRouted(routing.route(outboxRow({}, { ordinal: 2 })))
  expect(first.message.properties.headers['wal-ordinal']).toBe(1)
  expect(second.message.properties.headers['wal-ordinal']).toBe(2)
})

test('content type, expiration and priority come from their columns, and not at all from NULL or empty ones', () => {
  const set = withExtra({ content_type: 'application/avro', expiration: '60000', priority: '9' })
  expect(set.message.properties).toMatchObject({ contentType: 'application/avro', expiration: '60000', priority: 9 })
  const empty = withExtra({ content_type: '', expiration: '', priority: null, correlation_id: '' })
  expect(empty.message).toEqual(routed().message)
})

test.each([
  ['id', null, 'id is NULL'],
  ['id', '', 'id is empty'],
  ['aggregate_type', null, 'aggregate_type is NULL'],
  ['aggregate_type', '', 'aggregate_type is empty'],
  ['aggregate_id', null, 'aggregate_id is NULL'],
  ['aggregate_id', '', 'aggregate_id is empty'],
  ['type', null, 'type is NULL'],
  ['type', '', 'type is empty'],
  ['id', 'é'.repeat(128), 'id is 256 bytes long'],
  ['type', 'é'.repeat(128), 'type is 256 bytes long'],
  ['aggregate_type', 'n'.repeat(250), 'routing key is 257 bytes long'],
  ['aggregate_id', 'n'.repeat(70_000), 'aggregate_id is 70000 bytes long'],
  ['headers', '[]', 'JSON array'],
  ['headers', '{"CC": ["elsewhere"]}', '"CC"'],
  ['headers', JSON.stringify({ correlation_id: 'n'.repeat(256) }), 'correlation_id is 256 bytes long'],
  ['headers', `{${' '.repeat(1024 * 1024)}}`, 'headers is 1048578 bytes long'],
])('a row whose %s is %.20j is refused: %s', (column, value, text) => {
  const { refusal } = refused({ [column]: value })
  expect(refusal.code).toBe('EVENT_INVALID')
  expect(refusal.text).toContain(text)
})

test.each([
  ['exchange', 'n'.repeat(256), 'exchange is 256 bytes long'],
  ['routing_key', 'é'.repeat(128), 'routing_key is 256 bytes long'],
  ['content_type', 'n'.repeat(256), 'content_type is 256 bytes long'],
  ['correlation_id', 'n'.repeat(256), 'correlation_id is 256 bytes long'],
  ['expiration', '-1', 'expiration is "-1"'],
  ['expiration', '1.5', 'expiration is "1.5"'],
  ['expiration', '1 day', 'expiration is "1 day"'],
  ['expiration', '315360000001', 'expiration is "315360000001"'],
  ['expiration', '9'.repeat(256), 'expiration is 256 bytes long'],
  ['priority', '256', 'priority is "256"'],
  ['priority', '-1', 'priority is "-1"'],
  ['priority', 'high', 'priority is "high"'],
])('a row whose mapped %s is %.20j is refused: %s', (column, value, text) => {
  const { refusal } = refused({ [column]: value }, extraOptions, { relation: extraRelation })
  expect(refusal.code).toBe('EVENT_INVALID')
  expect(refusal.text).toContain(text)
})

test.each([
  ['expiration', '0'],
  ['expiration', '315360000000'],
  ['priority', '0'],
  ['priority', '255'],
  ['routing_key', 'é'.repeat(127)],
])('a row whose mapped %s is %.20j passes', (column, value) => {
  expect(withExtra({ [column]: value }).message).toBeDefined()
})

test('a body of the largest size passes and one byte more is too large', () => {
  const maxMessageSize = 10
  expect(routed({ payload: 'x'.repeat(10) }, { maxMessageSize }).message.body).toHaveLength(10)
  expect(refused({ payload: 'x'.repeat(11) }, { maxMessageSize }).refusal).toEqual({
    code: 'EVENT_TOO_LARGE',
    text: 'payload is 11 bytes; sink.maxMessageSize allows 10',
  })
  const relation = outboxRelation({ payload: 'bytea' })
  expect(routed({ payload: `\\x${'ab'.repeat(10)}` }, { maxMessageSize }, { relation }).message.body).toHaveLength(10)
  const large = refused({ payload: `\\x${'ab'.repeat(11)}` }, { maxMessageSize }, { relation })
  expect(large.refusal.code).toBe('EVENT_TOO_LARGE')
})

test('headers pass up to the largest table and are refused one byte beyond, where the row, the route or the ids fill it', () => {
  const table = encodeHeaders(routed({ headers: '{"a": ""}' }).message.properties.headers)
  const room = headerTable_bytes_max - table.length
  const full = routed({ headers: JSON.stringify({ a: 'x'.repeat(room) }) })
  expect(encodeHeaders(full.message.properties.headers)).toHaveLength(headerTable_bytes_max)
  expect(() => encodePublish(full.message)).not.toThrow()
  expect(refused({ headers: JSON.stringify({ a: 'x'.repeat(room + 1) }) }).refusal).toEqual({
    code: 'EVENT_INVALID',
    text: `the headers take ${headerTable_bytes_max + 1} bytes as an AMQP table; at most ${headerTable_bytes_max} can be sent`,
  })
  const aggregate_id = '😀'.repeat(16_000)
  expect(refused({ aggregate_id, headers: JSON.stringify({ a: 'x'.repeat(2_000) }) }).refusal.text).toContain('take')
  const routes = [{ headers: { a: 'x'.repeat(64_500) } }]
  expect(refused({}, { routes }).refusal.text).toContain('as an AMQP table')
})

test('small JSON that grows on the wire is counted, not guessed', () => {
  const doubles = JSON.stringify({ a: new Array(7_500).fill(0.5) })
  expect(doubles.length).toBeLessThan(headerTable_bytes_max / 2)
  expect(refused({ headers: doubles }).refusal.text).toContain('as an AMQP table')
})

test('a refused row keeps all that a dead letter needs', () => {
  const row = refused({ headers: '{"CC": []}', exchange: 'mine' }, extraOptions, {
    relation: extraRelation,
    ordinal: 3,
  })
  expect(row).toMatchObject({
    commitLsn: 0x16_b374_d848n,
    ordinal: 3,
    message: undefined,
    eventId: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
    aggregateType: 'order',
    aggregateId: '42',
    type: 'placed',
    refused: {
      exchange: 'mine',
      routingKey: 'order.placed',
      contentType: 'application/json',
      body: Buffer.from('{"total": 12}'),
      headersText: '{"CC": []}',
    },
    unroutable: 'dead-letter',
  })
})

test('a row that is refused for its size keeps its whole body', () => {
  const payload = 'x'.repeat(50)
  expect(refused({ payload }, { maxMessageSize: 10 }).refused.body.toString()).toBe(payload)
})

test('a refused row without its names has no routing key, and is still kept', () => {
  expect(refused({ id: null })).toMatchObject({ eventId: null, refused: { exchange: 'outbox', routingKey: null } })
  expect(refused({ aggregate_type: '' })).toMatchObject({
    aggregateType: '',
    refused: { exchange: null, routingKey: null },
  })
  expect(refused({ type: 'n'.repeat(300) }).type).toBe('n'.repeat(300))
})

test('a refused row has the policy of its route', () => {
  expect(refused({ id: '' }, { routes: [{ unroutable: 'block' }] }).unroutable).toBe('block')
  expect(refused({ type: '' }, { unroutable: 'drop' }).unroutable).toBe('drop')
})

test('a column too long for a string is refused by its size, and kept as null, without being decoded', () => {
  const row = outboxRow()
  const { relation, tuple } = row
  const huge = relation.columns.findIndex(({ name }) => name === 'headers')
  const gigabyte: SourceRow = {
    ...row,
    tuple: {
      size: tuple.size,
      bytes: (index) => tuple.bytes(index),
      byteLength: (index) => (index === huge ? 2 ** 30 : tuple.byteLength(index)),
      text: (index) => {
        if (index === huge) throw new Error('Cannot create a string longer than 0x1fffffe8 characters')
        return tuple.text(index)
      },
    },
  }
  expect(createRouting(options).route(gigabyte)).toMatchObject({
    refusal: { code: 'EVENT_INVALID', text: expect.stringContaining('headers is 1073741824 bytes long') },
    refused: { headersText: null },
    eventId: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
  })
})

test('a failure of the program itself is thrown, never passed off as a bad row', () => {
  const row = outboxRow()
  let calls = 0
  const text = (index: number) => {
    if (calls++ === 0) throw new TypeError('a bug')
    return row.tuple.text(index)
  }
  const broken: SourceRow = { ...row, tuple: { ...row.tuple, text } }
  expect(() => createRouting(options).route(broken)).toThrow(TypeError)
})

test('a changed table is read by its new description, and the old one still by its own', () => {
  const routing = createRouting(options)
  const before = outboxRow()
  const changed = relationOf(
    'public',
    'outbox',
    Object.fromEntries([['note', 'text'], ...before.relation.columns.map(({ name, type }) => [name, type])]),
  )
  const after = outboxRow({ note: 'new' }, { relation: changed })
  for (const row of [before, after, before]) expect(expectRouted(routing.route(row)).aggregateId).toBe('42')
})

test('rows from before and after a rename are both read when both names are mapped', () => {
  const routing = createRouting({ ...options, columns: resolveColumns({ payload: ['body', 'payload'] }) })
  const before = outboxRow()
  const columns = before.relation.columns.map(({ name, type }) => [name === 'payload' ? 'body' : name, type])
  const renamed = relationOf('public', 'outbox', Object.fromEntries(columns))
  const after = outboxRow({ body: '{"total": 13}' }, { relation: renamed })
  const bodies = [before, after, before].map((row) => expectRouted(routing.route(row)).message.body.toString())
  expect(bodies).toEqual(['{"total": 12}', '{"total": 13}', '{"total": 12}'])
  const oneName = createRouting(options)
  expect(() => oneName.route(after)).toThrow(/^a row of table public\.outbox, committed at 16\/B374D848, has no column/)
})

test('a table that lost a mapped column throws, again and again, and refuses no row', () => {
  const routing = createRouting(options)
  routing.route(outboxRow())
  const relation = relationOf('public', 'outbox', { id: 'uuid', payload: 'jsonb' })
  for (let attempt = 0; attempt < 2; attempt++) {
    expect(() => routing.route(outboxRow({}, { relation }))).toThrow(
      expect.objectContaining({ code: 'COLUMN_MISSING' }),
    )
  }
  const retyped = outboxRelation({ payload: 'xml' })
  expect(() => routing.route(outboxRow({}, { relation: retyped }))).toThrow(
    expect.objectContaining({ code: 'COLUMN_TYPE' }),
  )
})

test('a replay id that no header name could hold is refused at the start', () => {
  expect(() => createRouting({ ...options, replayId: 'r'.repeat(256) })).toThrow(/the replay id is 256 bytes/)
})
