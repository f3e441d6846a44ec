import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { headerTableSize } from '../../src/routing/header-size.ts'
import { headerDepth_max, readHeaders } from '../../src/routing/headers.ts'
import { decodeHeaders, encodeHeaders } from './amqp-encoder.ts'

// Names that are refused or dropped are another test's; amqplib's decoder assigns `__proto__` away.
const plainJson = fc
  .dictionary(fc.string({ maxLength: 40 }), fc.jsonValue({ maxDepth: 4 }))
  .map((table) => JSON.stringify(table).replaceAll('__proto__', 'proto'))
  .filter((text) => !/"(CC|BCC|x-|wal-)/.test(text))

test('any JSON object arrives as it was written', () => {
  fc.assert(
    fc.property(plainJson, (text) => {
      const expected = JSON.parse(text)
      const decoded = decodeHeaders(encodeHeaders(readHeaders(text) ?? {}))
      expect(JSON.stringify(sorted(decoded))).toBe(JSON.stringify(sorted(expected)))
    }),
  )
})

test('the size of a table is what amqplib makes of it, and at most three bytes for one of JSON', () => {
  fc.assert(
    fc.property(plainJson, (text) => {
      const headers = readHeaders(text) ?? {}
      const size = headerTableSize(headers)
      expect(size).toBe(encodeHeaders(headers).length)
      expect(size).toBeLessThanOrEqual(4 + 3 * Buffer.byteLength(text))
    }),
  )
})

test('the size of a table is right at every width of a number', () => {
  const edges = [7, 8, 15, 16, 31, 32, 50, 52, 53, 62, 63, 64].flatMap((bits) => {
    const power = 2 ** bits
    return [power - 1, power, power + 1, -power + 1, -power, -power - 1, power + 0.5, -power - 0.5]
  })
  for (const number of [...edges, 0, -0, 0.1, 1e-320, 1e300, -1e300, Number.MAX_VALUE, -Number.MAX_VALUE]) {
    const headers = readHeaders(`{"n": ${JSON.stringify(number)}}`)!
    expect(headerTableSize(headers), String(number)).toBe(encodeHeaders(headers).length)
    expect(decodeHeaders(encodeHeaders(headers)).n, String(number)).toBe(number === 0 ? 0 : number)
  }
})

test('a 64-bit integer reaches the wire exactly, at any depth', () => {
  const unsafe = fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n })
  const big = fc.oneof(
    unsafe,
    unsafe.map((value) => -value),
    fc.constant(-(2n ** 63n)),
  )
  fc.assert(
    fc.property(big, (value) => {
      const flat = encodeHeaders(readHeaders(`{"n": ${value}}`)!)
      expect(flat.toString('latin1', 4, 7)).toBe('\u0001nl')
      expect(flat.readBigInt64BE(7)).toBe(value)
      const nested = readHeaders(`{"a": [{"n": ${value}}]}`)!
      expect(headerTableSize(nested)).toBe(encodeHeaders(nested).length)
      const bytes = Buffer.alloc(8)
      bytes.writeBigInt64BE(value)
      expect(encodeHeaders(nested).includes(bytes)).toBe(true)
    }),
  )
})

test.each(['9223372036854775808', '-9223372036854775809', '-1e300', '1125899906842624.5', '9007199254740993.0'])(
  'the number %s, which no 64-bit integer says, goes as a double',
  (number) => {
    const encoded = encodeHeaders(readHeaders(`{"n": ${number}}`)!)
    expect(encoded.toString('latin1', 4, 7)).toBe('\u0001nd')
    expect(encoded.readDoubleBE(7)).toBe(Number(number))
  },
)

test('a nested table with the key ! is a table, not one of amqplib’s typed values', () => {
  const text = '{"a": {"!": "timestamp", "value": "x"}, "b": [{"!": {"!": 1}}], "!": "int64"}'
  const headers = readHeaders(text)!
  expect(decodeHeaders(encodeHeaders(headers))).toEqual(JSON.parse(text))
  expect(headerTableSize(headers)).toBe(encodeHeaders(headers).length)
})

test('null, empty and nested values have their AMQP forms', () => {
  const text = '{"s": "", "t": true, "f": false, "v": null, "l": [1, null, []], "n": {"o": {}}}'
  expect(decodeHeaders(encodeHeaders(readHeaders(text)!))).toEqual(JSON.parse(text))
})

test('no headers are no table', () => {
  expect(readHeaders('{}')).toBeNull()
  expect(readHeaders(' { } ')).toBeNull()
})

test('__proto__ is an ordinary header and touches no prototype', () => {
  const headers = readHeaders('{"__proto__": {"polluted": 9007199254740993}, "n": {"__proto__": [1e300]}}')!
  expect(Object.getPrototypeOf(headers)).toBe(Object.prototype)
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  const encoded = encodeHeaders(headers)
  expect(encoded.length).toBe(headerTableSize(headers))
  expect(encoded.toString('latin1').match(/__proto__/g)).toHaveLength(2)
})

test('lone surrogates and control characters are carried and counted', () => {
  const headers = readHeaders('{"a\\ud800": "\\udfff\\u0000", "\\u0001": "ok"}')!
  expect(headerTableSize(headers)).toBe(encodeHeaders(headers).length)
})

test.each([
  'CC',
  'BCC',
  'x-death',
  'x-first-death-reason',
  'x-last-death-queue',
  'x-delay',
  'x-delivery-count',
  'x-acquired-count',
  'x-received-from',
  'x-stream-offset',
  'x-stream-filter-value',
  'x-opt-enqueue-time',
  'x-deduplication-header',
  'x-cache-ttl',
  'x-recent-history-no-store',
  'x-mqtt-publish-qos',
  'x-shovelled',
  'x-routing-keys',
])('the broker’s own header %s is refused', (name) => {
  const error = refusal(`{"ok": 1, "${name}": "v"}`)
  expect(error.code).toBe('EVENT_INVALID')
  expect(error.message).toContain(`"${name}"`)
})

test.each(['cc', 'X-Death', 'x-request-id', 'x-b3-traceid', 'x-tenant', 'x-delayed-by', 'traceparent', 'walrus'])(
  'the ordinary header %s passes',
  (name) => {
    expect(readHeaders(`{"${name}": "v"}`)).toEqual({ [name]: 'v' })
  },
)

test('the broker’s names are ordinary inside of a nested table', () => {
  expect(readHeaders('{"a": {"CC": 1, "wal-lsn": 2}}')).toEqual({ a: { CC: 1, 'wal-lsn': 2 } })
})

test('names of the bridge are left out, whatever they hold', () => {
  expect(readHeaders('{"wal-lsn": "0/0", "wal-future": {"x": 1}, "a": 1}')).toEqual({ a: 1 })
})

test.each([
  ['[]', 'array'],
  ['null', 'null'],
  ['"text"', 'string'],
  ['12345678901234567', 'number'],
  ['true', 'boolean'],
  ['', 'does not hold JSON'],
  ['{"a":', 'does not hold JSON'],
])('headers that are %s instead of an object are refused', (text, found) => {
  expect(refusal(text).message).toContain(found)
})

test('text that is not JSON is not quoted in the message', () => {
  expect(refusal('{"password": hunter2}').message).not.toContain('hunter2')
})

test('a header name of 255 bytes passes and of 256 is refused with its length, at any depth', () => {
  expect(readHeaders(JSON.stringify({ ['é'.repeat(127)]: 1 }))).not.toBeNull()
  expect(readHeaders(JSON.stringify({ ['n'.repeat(255)]: 1 }))).not.toBeNull()
  expect(refusal(JSON.stringify({ ['n'.repeat(256)]: 1 })).message).toContain('256 bytes')
  expect(refusal(JSON.stringify({ ['é'.repeat(128)]: 1 })).message).toContain('256 bytes')
  expect(refusal(JSON.stringify({ a: [{ ['n'.repeat(256)]: 1 }] })).message).toContain('256 bytes')
})

test('a number beyond a double is refused', () => {
  expect(refusal(`{"n": 1${'0'.repeat(400)}}`).message).toContain('"n"')
  expect(refusal('{"a": {"n": -1e400}}').message).toContain('"n"')
})

test('nesting is carried to its limit and refused beyond, without overflowing the stack', () => {
  const nested = (depth: number) => `{"a": ${'['.repeat(depth)}${']'.repeat(depth)}}`
  expect(encodeHeaders(readHeaders(nested(headerDepth_max - 1))!).length).toBeGreaterThan(0)
  expect(refusal(nested(headerDepth_max)).message).toContain('deeper than')
  expect(refusal(nested(100_000)).code).toBe('EVENT_INVALID')
})

function refusal(text: string): BridgeError {
  try {
    readHeaders(text)
  } catch (error) {
    if (error instanceof BridgeError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, field]): [string, unknown] => [name, sorted(field)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}
