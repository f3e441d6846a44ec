import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { RowOrigin } from '../sink/sink.ts'
import type { SourceRow, SourceTuple } from '../source/source.ts'
import { asciiJson } from './ascii-json.ts'

/** Most that is kept of the columns beside the payload, together: routing reads none that is longer. */
export const keptColumns_bytes_max = 64 * 1024 * 1024

/** A column of a kept row, as `row_shape` describes it. */
export interface StoredColumn {
  readonly name: string
  /** As the stream named it: `jsonb`, `uuid`, … */
  readonly type: string
  /** Where its text comes from when it is the payload: the body as it is, or in PostgreSQL's hexadecimal form. */
  readonly from?: 'body' | 'body-hex'
  /** Bytes of a column that is not kept, being too large. */
  readonly leftOut?: number
}

/**
 * The columns of a row as JSON: `columns` is name → text, without the one that the body has already; `shape` a list of
 * StoredColumn in the order of the table.
 */
export interface StoredRow {
  readonly columns: string
  readonly shape: string
}

/** `body` is what was, or would have been, sent: the column that it was made of is told by its content. */
export function encodeRow({ relation, tuple }: RowOrigin, body: Buffer): StoredRow {
  const texts: [string, string | null][] = []
  let shape = ''
  let room = keptColumns_bytes_max
  relation.columns.forEach((column, index) => {
    const { name, type } = column
    const size = tuple.byteLength(index)
    if (size > room) {
      shape += `,${asciiJson(largeColumn(name, type, size, body))}`
      return
    }
    const from = sourceOf(tuple, index, type, size, body)
    if (from === undefined) {
      texts.push([name, tuple.text(index)])
      room -= size
    }
    shape += `,${from === undefined ? plainColumn(column) : asciiJson({ name, type, from })}`
  })
  return { columns: asciiJson(Object.fromEntries(texts)), shape: `[${shape.slice(1)}]` }
}

/** By identity, as every row of a relation has the same columns. */
const plainColumns = new WeakMap<object, string>()

function plainColumn(column: { readonly name: string; readonly type: string }): string {
  let json = plainColumns.get(column)
  if (json === undefined) {
    json = asciiJson({ name: column.name, type: column.type })
    plainColumns.set(column, json)
  }
  return json
}

function sourceOf(
  tuple: RowOrigin['tuple'],
  index: number,
  type: string,
  size: number,
  body: Buffer,
): StoredColumn['from'] {
  if (type === 'bytea')
    return isHexOf(size, body) && tuple.text(index) === `\\x${body.toString('hex')}` ? 'body-hex' : undefined
  return size === body.length && tuple.bytes(index)?.equals(body) === true ? 'body' : undefined
}

/** Told by its size alone: a text of this length may be more than Node can hold. */
function largeColumn(name: string, type: string, size: number, body: Buffer): StoredColumn {
  if (type === 'bytea' && isHexOf(size, body)) return { name, type, from: 'body-hex' }
  return size === body.length ? { name, type, from: 'body' } : { name, type, leftOut: size }
}

function isHexOf(size: number, body: Buffer): boolean {
  return size === 2 + 2 * body.length
}

/** What a row is made again of. */
export interface StoredRowFacts {
  readonly table: { readonly schema: string; readonly name: string }
  readonly columns: Readonly<Record<string, string | null>>
  readonly shape: readonly StoredColumn[]
  readonly body: Buffer
  readonly commitLsn: Lsn
  readonly ordinal: number
  /** ISO 8601 with microseconds. */
  readonly committedAt: string
}

/** The row as the source once gave it, to be routed again. */
export function restoreRow(facts: StoredRowFacts): SourceRow {
  const { table, columns, shape, body, commitLsn, ordinal, committedAt } = facts
  return {
    kind: 'row',
    transaction: {
      commitLsn,
      commitLsnText: formatLsn(commitLsn),
      committedAt,
      committedAtSeconds: Math.floor(Date.parse(committedAt) / 1000),
    },
    ordinal,
    relation: { schema: table.schema, table: table.name, columns: shape.map(({ name, type }) => ({ name, type })) },
    tuple: storedTuple(shape, columns, body),
  }
}

function storedTuple(
  shape: readonly StoredColumn[],
  columns: Readonly<Record<string, string | null>>,
  body: Buffer,
): SourceTuple {
  const bytes = (index: number): Buffer | null => {
    const column = shape[index]
    if (column === undefined) return null
    if (column.from === 'body') return body
    if (column.from === 'body-hex') return hexText(body)
    const text = Object.hasOwn(columns, column.name) ? (columns[column.name] ?? null) : null
    return text === null ? null : Buffer.from(text, 'utf8')
  }
  return {
    bytes,
    size: body.length,
    text: (index) => bytes(index)?.toString('utf8') ?? null,
    byteLength: (index) => {
      const column = shape[index]
      if (column?.from === 'body-hex') return 2 + 2 * body.length
      // What is not kept was too large to be sent, and must stay so.
      return column?.leftOut ?? bytes(index)?.length ?? 0
    },
  }
}

const hexChunk_bytes = 1024 * 1024

/** In pieces, because the text of a large bytea is longer than the longest string. */
function hexText(body: Buffer): Buffer {
  const text = Buffer.allocUnsafe(2 + 2 * body.length)
  text.write('\\x', 0, 'latin1')
  for (let at = 0; at < body.length; at += hexChunk_bytes) {
    text.write(body.toString('hex', at, at + hexChunk_bytes), 2 + 2 * at, 'latin1')
  }
  return text
}
