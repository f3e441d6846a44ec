import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCopyRow } from '../../src/source/copy-text.ts'
import { thrownBy } from './recorder.ts'

const letters: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
}

/** As CopyAttributeOutText of PostgreSQL writes. */
function encode(values: readonly (string | null)[]): Buffer {
  const columns = values.map((value) => value?.replaceAll(/[\\\b\f\n\r\t\v]/g, (letter) => letters[letter]!) ?? '\\N')
  return Buffer.from(`${columns.join('\t')}\n`)
}

function decode(chunk: Buffer, columns: number): (string | null)[] {
  const tuple = decodeCopyRow(chunk, columns)
  return Array.from({ length: columns }, (_, index) => tuple.text(index))
}

test('columns come apart, with every escape that the server writes, NULL and empty', () => {
  expect(decode(Buffer.from('a\\tb\t\\N\t\t\\\\N\t\\b\\f\\n\\r\\v\\\\\té😀\n'), 6)).toEqual([
    'a\tb',
    null,
    '',
    '\\N',
    '\b\f\n\r\v\\',
    'é😀',
  ])
  expect(decode(Buffer.from('\n'), 1)).toEqual([''])
  expect(decode(Buffer.from('\\N\n'), 1)).toEqual([null])
})

test('what was encoded is decoded', () => {
  const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: fc.constantFrom(...'\\N\b\f\n\r\t\va') }))
  const row = fc.array(fc.oneof(text, fc.constant(null)), { minLength: 1, maxLength: 8 })
  const holds = fc.property(row, (values) => {
    expect(decode(encode(values), values.length)).toEqual(values)
  })
  fc.assert(holds)
})

test('a tuple owns its bytes and says how many they are', () => {
  const chunk = encode(['abc', null, 'a\\b'])
  const tuple = decodeCopyRow(chunk, 3)
  chunk.fill(0)
  expect(tuple.bytes(0)).toEqual(Buffer.from('abc'))
  expect(tuple.bytes(1)).toBe(null)
  expect([0, 1, 2].map((index) => tuple.byteLength(index))).toEqual([3, 0, 3])
})

test.each([
  ['no newline', 'a', 1],
  ['nothing', '', 1],
  ['an octal escape', '\\101\n', 1],
  ['a backslash at the end', 'a\\\n', 1],
  ['NULL and more', '\\Na\n', 1],
  ['more and NULL', 'a\\N\n', 1],
  ['NULL twice', '\\N\\N\n', 1],
  ['a column too many', 'a\tb\n', 1],
  ['a column too few', 'a\n', 2],
])('%s is refused', (_, text, columns) => {
  expect(thrownBy(() => decodeCopyRow(Buffer.from(text), columns))).toMatchObject({ code: 'SOURCE_PROTOCOL' })
})
