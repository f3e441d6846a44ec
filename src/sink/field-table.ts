import { writeShortString, writeText } from './short-text.ts'
import type { HeaderValue } from './sink.ts'

const tag = { table: 0x46, array: 0x41, text: 0x53, void: 0x56, flag: 0x74 } as const
const numberTag = { int8: 0x62, int16: 0x73, int32: 0x49, int64: 0x6c, double: 0x64 } as const

type Table = Readonly<Record<string, HeaderValue>>

/**
 * Writes an AMQP field table and returns the offset behind it; types as amqplib chooses them, which consumers rely on.
 * Throws a RangeError when it does not fit.
 * Source: https://www.rabbitmq.com/amqp-0-9-1-errata.html, section 3
 */
export function writeTable(bytes: Buffer, start: number, table: Table): number {
  let at = start + 4
  for (const name of Object.keys(table)) {
    at = writeShortString(bytes, at, name)
    at = writeValue(bytes, at, table[name]!)
  }
  bytes.writeUInt32BE(at - start - 4, start)
  return at
}

function writeValue(bytes: Buffer, at: number, value: HeaderValue): number {
  if (typeof value === 'string') return writeLongString(bytes, at, value)
  if (typeof value === 'number') return writeNumber(bytes, at, value)
  if (typeof value === 'boolean') {
    bytes[at] = tag.flag
    bytes[at + 1] = value ? 1 : 0
    return at + 2
  }
  if (value === null) {
    bytes[at] = tag.void
    return at + 1
  }
  if (Array.isArray(value)) return writeArray(bytes, at, value)
  if (Object.hasOwn(value, '!')) return writeMarked(bytes, at, value as unknown as Marked)
  bytes[at] = tag.table
  return writeTable(bytes, at + 1, value as Table)
}

/** amqplib's way to say the type of a value; `object` is a table that has a key `!` of its own. */
type Marked =
  | { readonly '!': 'int64'; readonly value: bigint }
  | { readonly '!': 'double'; readonly value: number }
  | { readonly '!': 'object'; readonly value: Table }

function writeMarked(bytes: Buffer, at: number, marked: Marked): number {
  switch (marked['!']) {
    case 'int64':
      bytes[at] = numberTag.int64
      return bytes.writeBigInt64BE(marked.value, at + 1)
    case 'double':
      bytes[at] = numberTag.double
      return bytes.writeDoubleBE(marked.value, at + 1)
    case 'object':
      bytes[at] = tag.table
      return writeTable(bytes, at + 1, marked.value)
    default:
      throw new TypeError(`unknown type of a header value: ${JSON.stringify(marked['!'])}`)
  }
}

function writeLongString(bytes: Buffer, at: number, text: string): number {
  bytes[at] = tag.text
  const end = writeText(bytes, at + 5, text)
  bytes.writeUInt32BE(end - at - 5, at + 1)
  return end
}

function writeArray(bytes: Buffer, start: number, items: readonly HeaderValue[]): number {
  bytes[start] = tag.array
  let at = start + 5
  for (const item of items) at = writeValue(bytes, at, item)
  bytes.writeUInt32BE(at - start - 5, start + 1)
  return at
}

function writeNumber(bytes: Buffer, at: number, value: number): number {
  if (!Number.isInteger(value) || value >= 2 ** 63 || value < -(2 ** 63)) {
    bytes[at] = numberTag.double
    return bytes.writeDoubleBE(value, at + 1)
  }
  if (value >= -0x80 && value < 0x80) {
    bytes[at] = numberTag.int8
    return bytes.writeInt8(value, at + 1)
  }
  if (value >= -0x8000 && value < 0x8000) {
    bytes[at] = numberTag.int16
    return bytes.writeInt16BE(value, at + 1)
  }
  if (value >= -0x80000000 && value < 0x80000000) {
    bytes[at] = numberTag.int32
    return bytes.writeInt32BE(value, at + 1)
  }
  bytes[at] = numberTag.int64
  return bytes.writeBigInt64BE(BigInt(value), at + 1)
}
