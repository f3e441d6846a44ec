import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bodyFrames, copiedBody_bytes_max, publishRoom_bytes, writePublish } from '../../src/sink/publish-frames.ts'
import type { HeaderValue, MessageProperties, OutboundMessage } from '../../src/sink/sink.ts'
import { encodePublish } from '../routing/amqp-encoder.ts'

const require = createRequire(import.meta.url)
const { makeBodyFrame } = require(join(dirname(require.resolve('amqplib')), 'lib', 'frame.js')) as {
  makeBodyFrame(channel: number, payload: Buffer): Buffer
}
const frameMax = 131_072

function messageOf(own: Partial<MessageProperties>, body = Buffer.from('{}'), routingKey = 'order.Placed') {
  const properties: MessageProperties = {
    messageId: '0190d7e2-0000-7000-8000-000000000001',
    type: 'Placed',
    contentType: 'application/json',
    timestamp: 1_769_903_999,
    appId: 'wal2rabbit',
    persistent: true,
    mandatory: true,
    headers: { aggregate_type: 'order' },
    ...own,
  }
  return { exchange: 'outbox', routingKey, body, properties } satisfies OutboundMessage
}

function ours(message: OutboundMessage, start = 0): Buffer {
  const bytes = Buffer.alloc(start + publishRoom_bytes(64 * 1024), 0xaa)
  const end = writePublish(bytes, start, 1, message, frameMax)
  const large = message.body.length > copiedBody_bytes_max ? bodyFrames(1, message.body, frameMax) : []
  return Buffer.concat([bytes.subarray(start, end), ...large])
}

function amqplibs(message: OutboundMessage): Buffer {
  const { method, properties } = encodePublish(message)
  const bodies: Buffer[] = []
  for (let from = 0; from < message.body.length; from += frameMax - 8) {
    bodies.push(makeBodyFrame(1, message.body.subarray(from, from + frameMax - 8)))
  }
  return Buffer.concat([method, properties, ...bodies])
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e12, max: 1e12 }),
  fc.constantFrom(
    0,
    -0,
    127,
    128,
    -128,
    -129,
    32767,
    32768,
    -32769,
    2147483647,
    2147483648,
    -2147483649,
    2 ** 53,
    2 ** 63,
  ),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ '!': 'int64' as const, value })),
)
const { table } = fc.letrec<{ value: HeaderValue; table: Record<string, HeaderValue> }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    text,
    number,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('table'),
  ),
  table: fc.dictionary(
    text.filter((name) => name !== '!' && name !== '__proto__'),
    tie('value'),
    { maxKeys: 6 },
  ),
}))
const message = fc
  .record({
    headers: table,
    body: fc.uint8Array({ maxLength: 300 }),
    routingKey: text,
    messageId: text,
    type: text,
    timestamp: fc.integer({ min: 0, max: 2 ** 40 }),
    correlationId: fc.option(text, { nil: undefined }),
    expiration: fc.option(fc.nat().map(String), { nil: undefined }),
    priority: fc.option(fc.nat(255), { nil: undefined }),
  })
  .map(({ body, routingKey, correlationId, expiration, priority, ...rest }) =>
    messageOf(
      {
        ...rest,
        ...(correlationId !== undefined && { correlationId }),
        ...(expiration !== undefined && { expiration }),
        ...(priority !== undefined && { priority }),
      },
      Buffer.from(body),
      routingKey,
    ),
  )

test('every message is encoded byte for byte as amqplib encodes it', () => {
  fc.assert(
    fc.property(message, fc.nat(1000), (one, start) => {
      expect(ours(one, start).equals(amqplibs(one))).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test.each([0, 1, copiedBody_bytes_max, copiedBody_bytes_max + 1, frameMax - 8, frameMax - 7, 1_000_000])(
  'a body of %i bytes is framed as amqplib frames it',
  (size) => {
    const one = messageOf({}, Buffer.alloc(size, 'x'))
    expect(ours(one).equals(amqplibs(one))).toBe(true)
  },
)

test('texts of 255 bytes fit into a short string, longer ones are refused', () => {
  const one = messageOf({ messageId: 'é'.repeat(127), type: 'x'.repeat(255) }, Buffer.from('{}'), 'k'.repeat(255))
  expect(ours(one).equals(amqplibs(one))).toBe(true)
  for (const own of [{ messageId: 'é'.repeat(128) }, { type: 'x'.repeat(256) }, { correlationId: 'c'.repeat(300) }]) {
    expect(() => ours(messageOf(own))).toThrow(RangeError)
  }
  expect(() => ours(messageOf({ headers: { ['k'.repeat(256)]: 1 } }))).toThrow(RangeError)
})

test('properties larger than the frames of the broker are refused', () => {
  const bytes = Buffer.alloc(publishRoom_bytes(64 * 1024))
  const one = messageOf({ headers: { long: 'x'.repeat(5000) } })
  expect(() => writePublish(bytes, 0, 1, one, 4096)).toThrow(/frame_max/)
})

test('what has no room is refused, not cut off', () => {
  const one = messageOf({ headers: { long: 'x'.repeat(500), more: [1, 2, 3, { a: 'b'.repeat(40) }] } })
  const whole = ours(one).length
  for (let room = 0; room < whole; room++) {
    const bytes = Buffer.alloc(room)
    let end = Number.POSITIVE_INFINITY
    try {
      end = writePublish(bytes, 0, 1, one, frameMax)
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError)
    }
    // A byte set behind the end is lost without an error; the offset shows it.
    expect(end).toBeGreaterThan(room)
  }
})
