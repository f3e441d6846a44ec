import type { HeaderValue } from '../sink/sink.ts'

/**
 * Largest header table that is sent, in bytes as encoded. amqplib encodes into a buffer of 64 KiB and throws beyond it;
 * one KiB is left for headers that a repeat of the message may add.
 */
export const headerTable_bytes_max = 64 * 1024 - 1024

/** Bytes that a field table takes on the wire, its length included, exactly as amqplib encodes it. */
export function headerTableSize(table: { readonly [name: string]: HeaderValue }): number {
  let size = 4
  for (const name of Object.keys(table)) size += 1 + Buffer.byteLength(name) + valueSize(table[name]!)
  return size
}

function valueSize(value: HeaderValue): number {
  switch (typeof value) {
    case 'string':
      return 5 + Buffer.byteLength(value)
    case 'number':
      return 1 + numberSize(value)
    case 'boolean':
      return 2
    default:
      if (value === null) return 1
      if (Array.isArray(value)) return value.reduce<number>((size, item) => size + valueSize(item), 5)
      return 1 + (Object.hasOwn(value, '!') ? typedSize(value as TypedValue) : headerTableSize(value as PlainTable))
  }
}

type PlainTable = { readonly [name: string]: HeaderValue }
type TypedValue = { readonly '!': string; readonly value: PlainTable }

// The bridge writes three typed values: int64 and double of eight bytes each, and a table with the key `!`.
function typedSize(typed: TypedValue): number {
  return typed['!'] === 'object' ? headerTableSize(typed.value) : 8
}

function numberSize(value: number): 1 | 2 | 4 | 8 {
  if (!Number.isInteger(value)) return 8
  if (value >= -0x80 && value < 0x80) return 1
  if (value >= -0x8000 && value < 0x8000) return 2
  if (value >= -0x80000000 && value < 0x80000000) return 4
  return 8
}
