import { expect, test } from 'vitest'
import { columnPresets, resolveColumns } from '../../src/routing/column-map.ts'
import { createRouting, type RoutingOptions } from '../../src/routing/message.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'
import { encodePublish, hexDump } from './amqp-encoder.ts'
import { outboxRelation, outboxRow, type RowOptions, type RowValues } from './row-fixture.ts'

// The bytes that the broker sees. A change of these files is a change of the contract with every consumer.

const options: RoutingOptions = {
  columns: columnPresets.default,
  exchange: 'outbox',
  routingKey: '{aggregate_type}.{type}',
  routes: [],
  maxMessageSize: 1024,
  unroutable: 'dead-letter',
}

function wire(values: RowValues, changes: Partial<RoutingOptions>, row: RowOptions): string {
  const event = createRouting({ ...options, ...changes }).route(outboxRow(values, row))
  if (event.message === undefined) throw new Error(event.refusal.text)
  return dump(event.message)
}

function dump(message: OutboundMessage): string {
  const { method, properties } = encodePublish(message)
  return `basic.publish\n${hexDump(method)}\nproperties\n${hexDump(properties)}\nbody\n${hexDump(message.body)}`
}

test('the smallest message on the wire', async () => {
  const values = { id: '1', aggregate_type: 'a', aggregate_id: '1', type: 't', payload: null, created_at: null }
  const changes = { exchange: '', columns: resolveColumns({ headers: null }) }
  await expect(wire(values, changes, { commitLsn: '0/0' })).toMatchFileSnapshot('wire/smallest.txt')
})

test('a usual message on the wire', async () => {
  const values = { headers: '{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}' }
  await expect(wire(values, {}, { ordinal: 1 })).toMatchFileSnapshot('wire/usual.txt')
})

test('the worst message on the wire: every property, every length at its limit, every kind of header', async () => {
  const extra = ['exchange', 'routing_key', 'content_type', 'correlation_id', 'expiration', 'priority']
  const columns = resolveColumns(Object.fromEntries(extra.map((name) => [name, name])))
  const relation = outboxRelation(Object.fromEntries(extra.map((name) => [name, 'text'])))
  const values = {
    id: 'i'.repeat(255),
    type: 'é'.repeat(127),
    aggregate_type: 'order',
    aggregate_id: '😀',
    exchange: 'x'.repeat(255),
    routing_key: 'k'.repeat(255),
    content_type: 'c'.repeat(255),
    correlation_id: 'o'.repeat(255),
    expiration: '315360000000',
    priority: '255',
    headers: `{"${'n'.repeat(255)}": "", "s": "\\ud800\\u0000", "t": true, "v": null, "int8": -128, "int16": 32767,
      "int32": -2147483648, "int64": 9223372036854775807, "least": -9223372036854775808, "double": -1e300,
      "fraction": 1125899906842624.5, "list": [1, [], {}], "table": {"!": {"__proto__": []}}, "wal-lsn": "forged"}`,
  }
  const routes = [{ headers: { team: 'sales' } }]
  const row = { relation, ordinal: 2 ** 32, commitLsn: 'FFFFFFFF/FFFFFFFF' }
  await expect(wire(values, { columns, routes, replayId: 'replay-7' }, row)).toMatchFileSnapshot('wire/worst.txt')
})
