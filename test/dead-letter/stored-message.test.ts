import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeMessage, encodeMessage } from '../../src/dead-letter/stored-message.ts'
import { publishRoom_bytes, writePublish } from '../../src/sink/publish-frames.ts'
import type { HeaderValue, OutboundMessage } from '../../src/sink/sink.ts'
import { outboxRow } from '../routing/row-fixture.ts'
import { routing } from './fixture.ts'

const frameMax = 131_072

/** The method, header and body frames that a message goes out as. */
function frames(message: OutboundMessage): string {
  const bytes = Buffer.alloc(publishRoom_bytes(64 * 1024) + message.body.length)
  return bytes.toString('latin1', 0, writePublish(bytes, 0, 1, message, frameMax))
}

function stored(message: OutboundMessage): OutboundMessage {
  const text = encodeMessage(message)
  expect(text).toMatch(/^[\x20-\x7f]*$/) // fits a database of any encoding
  return decodeMessage(text, message.body)
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('__proto__', '!', 'value', '\0', '\ud800', '€', 'constructor', '10', '2'),
)
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, -0, 0.1, 1e21, 2 ** 53, 2 ** 63, -(2 ** 63), Number.MIN_VALUE, Number.MAX_VALUE),
)
const int64 = fc
  .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  .map((value): HeaderValue => ({ '!': 'int64', value }))
const double = number.map((value): HeaderValue => Object.assign(Object.create(null), { '!': 'double', value }))

/** Tables as routing makes them: one with a key `!` of its own comes in the typed form. */
const { table } = fc.letrec<{ value: HeaderValue; table: Record<string, HeaderValue> }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    text,
    number,
    int64,
    double,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('table').map((own): HeaderValue => (Object.hasOwn(own, '!') ? { '!': 'object', value: own } : own)),
  ),
  table: fc.array(fc.tuple(text, tie('value')), { maxLength: 5 }).map((fields) => Object.fromEntries(fields)),
}))
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined })
const message = fc
  .record({
    exchange: text,
    routingKey: text,
    body: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    headers: table,
    messageId: text,
    type: text,
    timestamp: fc.integer({ min: 0, max: 2 ** 40 }),
    correlationId: optional(text),
    expiration: optional(fc.nat().map(String)),
    priority: optional(fc.nat(255)),
  })
  .map(
    ({ exchange, routingKey, body, correlationId, expiration, priority, ...rest }): OutboundMessage => ({
      exchange,
      routingKey,
      body,
      properties: {
        ...rest,
        contentType: 'application/json',
        appId: 'wal2rabbit',
        persistent: true,
        mandatory: true,
        ...(correlationId !== undefined && { correlationId }),
        ...(expiration !== undefined && { expiration }),
        ...(priority !== undefined && { priority }),
      },
    }),
  )

test('what was stored goes out as the very same frames', () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(frames(stored(one))).toBe(frames(one))
    }),
    { numRuns: 5000 },
  )
})

test('so does what routing makes of rows: 64-bit integers, large fractions, tables that look like typed values', () => {
  const headers = String.raw`{"id": 9223372036854775807, "neg": -9223372036854775808, "f": 1125899906842624.5, "zero": -0,
    "e": 1e300, "t": {"!": "int64", "value": "5"}, "a": [{"!": {"!": 1}}, null, true], "__proto__": {"x": 12345678901234567},
    "nul": "\u0000", "half": "\ud800", "!": "top", "2": 1, "1": 2}`
  const { message: routed } = routing().route(outboxRow({ headers }))
  expect(routed).toBeDefined()
  if (routed !== undefined) expect(frames(stored(routed))).toBe(frames(routed))
})

test.each(['null', '[]', '{}', '{"headers": {"x": {"!": "int128", "value": "1"}}}', '{"headers": {}, "messageId": 1}'])(
  'what it never wrote is told apart: %s',
  (kept) => {
    expect(() => decodeMessage(kept, Buffer.alloc(0))).toThrow(expect.objectContaining({ code: 'EVENT_INVALID' }))
  },
)
