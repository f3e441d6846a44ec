import fc from 'fast-check'
import { expect, test } from 'vitest'
import { byteaSize, decodeBytea } from '../../src/routing/bytea.ts'

const escaped = (raw: Buffer) =>
  Array.from(raw, (byte) => {
    if (byte === 0x5c) return '\\\\'
    if (byte >= 0x20 && byte < 0x7f) return String.fromCharCode(byte)
    return `\\${byte.toString(8).padStart(3, '0')}`
  }).join('')

test('both output formats of any bytea give back its bytes and their number', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const raw = Buffer.from(bytes)
      for (const text of [Buffer.from(`\\x${raw.toString('hex')}`), Buffer.from(escaped(raw))]) {
        expect(byteaSize(text)).toBe(raw.length)
        expect(decodeBytea(text)).toEqual(raw)
      }
    }),
  )
})

test('a bytea of several pieces is put together in order', () => {
  const raw = Buffer.from(Uint8Array.from({ length: 1_300_001 }, (_, index) => (index * 31) & 0xff))
  expect(decodeBytea(Buffer.from(`\\x${raw.toString('hex')}`)).equals(raw)).toBe(true)
})

test('an empty bytea is an empty body', () => {
  expect(decodeBytea(Buffer.from('\\x'))).toHaveLength(0)
  expect(decodeBytea(Buffer.from(''))).toHaveLength(0)
})
