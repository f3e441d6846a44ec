import { isDeepStrictEqual } from 'node:util'
import { columnPresets } from '../../src/routing/column-map.ts'
import { createRouting } from '../../src/routing/message.ts'
import type { RoutedMessage } from '../../src/routing/routing.ts'
import { outboxRelation, outboxRow } from '../routing/row-fixture.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type FuzzTarget, mustHold } from './fuzz-target.ts'
import { mutateText, oddText, pick } from './mutation.ts'
import { oddJson } from './odd-json.ts'
import { throughTheWire } from './wire-reader.ts'

const optional = ['exchange', 'routing_key', 'content_type', 'correlation_id', 'expiration', 'priority'] as const
const relation = outboxRelation(Object.fromEntries(optional.map((name) => [name, 'text'])))
const columns = { ...columnPresets.default, ...Object.fromEntries(optional.map((name) => [name, name])) }
const brokerNames = ['CC', 'BCC', 'x-death', 'x-delay', 'x-stream-offset', 'x-opt-a'] as const

export const rowsTarget: FuzzTarget = {
  name: 'rows',
  about: 'column texts and header JSON through routing, written as frames and read again with amqplib',
  weight: 25,
  start() {
    const routing = createRouting({
      columns,
      exchange: 'outbox',
      routingKey: '{aggregate_type}.{type}',
      routes: [{ aggregate_type: 'a*', routingKey: '{aggregate_id}.{id}', headers: { region: 'eu', n: 2 ** 53 } }],
      unroutable: 'dead-letter',
      maxMessageSize: 100_000,
    })
    return {
      runCase(random, log) {
        const values = oddRow(random)
        log.input(JSON.stringify(values))
        const event = routing.route(outboxRow(values, { relation }))
        if (event.refusal !== undefined) {
          const { code, text } = event.refusal
          mustHold(code === 'EVENT_INVALID' || code === 'EVENT_TOO_LARGE', () => `a bad row became ${code}: ${text}`)
          mustHold(text.length < 2000, 'the reason is too long to be shown')
          return log.refuse(code)
        }
        checkMessage(event, values)
        log.accept()
      },
    }
  },
}

type Values = Record<string, string | null>

function checkMessage({ message }: RoutedMessage, values: Values): void {
  const { method, properties, body } = throughTheWire(message)
  const sent = (name: string) => values[name] ?? null
  same('exchange', method.exchange, sent('exchange') ?? 'outbox')
  if (values.routing_key != null) same('routing key', method.routingKey, sent('routing_key'))
  same('message id', properties.messageId, sent('id'))
  same('type', properties.type, sent('type'))
  same('content type', properties.contentType, sent('content_type') || 'application/json')
  same('delivery mode', properties.deliveryMode, 2)
  if (values.expiration) same('expiration', properties.expiration, sent('expiration'))
  if (values.priority) same('priority', properties.priority, Number(values.priority))
  mustHold(body.equals(Buffer.from(values.payload ?? '')), 'the body is not the payload')
  mustHold(Number.isSafeInteger(properties.timestamp), () => `timestamp ${properties.timestamp}`)
  // amqplib's decoder assigns to this name, and so sets the prototype.
  if (values.headers?.includes('__proto__') || /\\u005f/i.test(values.headers ?? '')) return
  same('headers', properties.headers, expectedHeaders(values, properties.headers))
}

/** What the headers column says, the bridge's own over it. */
function expectedHeaders(values: Values, decoded: unknown): Record<string, unknown> {
  const own: Record<string, unknown> = JSON.parse(values.headers ?? '{}')
  for (const name of brokerNames) mustHold(!Object.hasOwn(own, name), `the broker's header ${name} was accepted`)
  const rows = Object.entries(own).filter(([name]) => !name.startsWith('wal-'))
  const route = values.aggregate_type?.startsWith('a') ? { region: 'eu', n: 2 ** 53 } : {}
  const ours = Object.entries(Object(decoded)).filter(([name]) => name.startsWith('wal-'))
  mustHold(ours.length === 3, 'not the three wal- headers')
  const aggregate = { aggregate_type: values.aggregate_type, aggregate_id: values.aggregate_id }
  return { ...route, ...Object.fromEntries(rows), ...aggregate, ...Object.fromEntries(ours) }
}

function same(what: string, decoded: unknown, expected: unknown): void {
  mustHold(
    isDeepStrictEqual(plain(decoded), plain(expected)),
    () => `${what} came out as ${JSON.stringify(decoded)}, expected ${JSON.stringify(expected)}`,
  )
}

/**
 * Without prototypes. Zero has one sign, as an integer of AMQP has no other; half of a surrogate pair, which an escape of
 * JSON can stand for, has no form in UTF-8 and goes out as U+FFFD.
 */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null), (_, item: unknown) => {
    if (typeof item === 'string') return wellFormed(item)
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).map(([name, field]) => [wellFormed(name), field]))
  })
}

function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}

function oddRow(random: SeededRandom): Values {
  const columnsToChange = random.between(0, 3)
  const values: Values = {
    id: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
    aggregate_type: pick(random, ['order', 'account']),
    aggregate_id: '42',
    type: 'placed',
    payload: random.chance(0.2) ? oddJson(random) : '{"total": 12}',
    headers: random.chance(0.7) ? oddJson(random) : '{}',
    created_at: '2026-01-31 23:59:58.123456+00',
  }
  for (let left = columnsToChange; left > 0; left--) {
    const name = pick(random, [...Object.keys(values), ...optional])
    const text = oddColumn(random, name, values[name] ?? '')
    values[name] = text
  }
  // What PostgreSQL sends is UTF-8, so it has no halves of surrogate pairs; escapes in JSON may stand for them.
  return Object.fromEntries(Object.entries(values).map(([name, text]) => [name, text && Buffer.from(text).toString()]))
}

function oddColumn(random: SeededRandom, name: string, usual: string): string | null {
  if (random.chance(0.1)) return null
  if (name === 'created_at' && random.chance(0.5)) return pick(random, times)
  if ((name === 'expiration' || name === 'priority') && random.chance(0.7)) return pick(random, numbers)
  if (random.chance(0.1)) return oddText(random, 4).repeat(random.between(50, 400))
  if (random.chance(0.01)) return 'x'.repeat(random.between(60_000, 140_000))
  return random.chance(0.5) ? mutateText(random, usual) : oddText(random, 12)
}

const times = [
  'infinity',
  '-infinity',
  '1969-12-31 23:59:59+00',
  '1970-01-01 00:00:00+00',
  '294276-12-31 23:59:59.999999+00',
  '4713-01-01 00:00:00+00 BC',
  '2026-01-31 23:59:60+00',
  '2026-13-41 25:61:61+00',
  '0001-01-01 00:00:00+00',
  '2026-01-31 23:59:58+05:30',
  '2026-01-31 23:59:58-15:59:59',
  '2026-01-31 23:59:58',
] as const
const numbers = [
  '0',
  '-1',
  '255',
  '256',
  '007',
  '1.5',
  '1e3',
  ' 1',
  '315360000000',
  '315360000001',
  '999999999999999',
] as const
