import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ExactJson, parseExactJson } from '../../src/routing/exact-json.ts'

const anchor = '9007199254740993' // sends the reader down its exact path

test('integers of 64 bits beyond 2^53 are exact', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const parsed = parseExactJson(`{"a":[${value}],"b" : ${value}}`)
      const expected = Number.isSafeInteger(Number(value)) ? Number(value) : value
      expect(parsed).toEqual({ a: [expected], b: expected })
    }),
  )
})

test('any JSON reads as JSON.parse reads it, on the exact path too', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      const [first, rest] = parseExactJson(`[${anchor},${text}]`) as [unknown, ExactJson]
      expect(first).toBe(9007199254740993n)
      expect(rounded(rest)).toEqual(JSON.parse(text))
    }),
  )
})

test.each([
  ['9223372036854775807', 9223372036854775807n],
  ['9223372036854775808', 2 ** 63],
  ['-9223372036854775808', -9223372036854775808n],
  ['-9223372036854775809', -(2 ** 63)],
  ['9007199254740991', 9007199254740991],
  ['9007199254740992', 9007199254740992n],
  ['9007199254740993.0', 2 ** 53],
  ['9007199254740993e0', 2 ** 53],
  ['0.12345678901234567890', Number('0.12345678901234567890')],
  [`1${'0'.repeat(400)}`, Number.POSITIVE_INFINITY],
])('the number %s becomes %s', (text, expected) => {
  expect(parseExactJson(`{"n": ${text}}`)).toEqual({ n: expected })
})

test('digits inside of strings stay text, quotes and backslashes included', () => {
  const value = { 'k: 12345678901234567': 'a\\", 12345678901234567: "', s: '\\', n: 1 }
  expect(parseExactJson(JSON.stringify(value))).toEqual(value)
})

test('the last of two equal names wins and __proto__ is a name like any other', () => {
  const parsed = parseExactJson(`{"__proto__": {"x": ${anchor}}, "a": 1, "a": 2}`)
  expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype)
  expect(Object.keys(parsed as object)).toEqual(['__proto__', 'a'])
  expect((parsed as { a: unknown }).a).toBe(2)
})

test('what is not JSON throws a SyntaxError', () => {
  expect(() => parseExactJson(`{"a": ${anchor}`)).toThrow(SyntaxError)
})

/** With every bigint as the double that JSON.parse would have made of it. */
function rounded(value: ExactJson): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(rounded)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, rounded(field)]))
}
