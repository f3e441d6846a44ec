import { BridgeError } from '../base/errors.ts'
import type { SourceTuple } from '../source/source.ts'
import { byteaSize, decodeBytea } from './bytea.ts'
import type { LogicalColumn } from './column-map.ts'
import type { RowReader } from './outbox-row.ts'
import { shortStringSize_max } from './short-string.ts'

/**
 * Largest message expiration in milliseconds: ten years of 365 days. One more and RabbitMQ closes the channel with
 * 406 `value_too_large` (seen with 3.10).
 */
export const expiration_ms_max = 315_360_000_000

/** Longest text that is decoded for a dead letter; Node holds no string over 512 MiB. */
const keptText_bytes_max = 64 * 1024 * 1024

const emptyBody = Buffer.alloc(0)

/** A column that every event needs. Throws a BridgeError `EVENT_INVALID` for NULL, empty, or more than `max` bytes. */
export function requiredText(tuple: SourceTuple, reader: RowReader, column: LogicalColumn, max: number): string {
  const text = optionalText(tuple, reader, column, max)
  if (text !== null && text !== '') return text
  throw invalid(`${column} is ${text === null ? 'NULL' : 'empty'} in this row of ${reader.table}; expected a text`)
}

/** Null for SQL NULL and for a column that is not mapped. Measured before it is decoded: it may be a gigabyte. */
export function optionalText(
  tuple: SourceTuple,
  reader: RowReader,
  column: LogicalColumn,
  max = shortStringSize_max,
): string | null {
  const index = reader.index[column]
  if (index === -1) return null
  const size = tuple.byteLength(index)
  if (size > max) throw invalid(`${column} is ${size} bytes long; at most ${max} can be sent`)
  return tuple.text(index)
}

/** Milliseconds as text, null for NULL and empty. Source: https://www.rabbitmq.com/docs/ttl */
export function expirationOf(tuple: SourceTuple, reader: RowReader): string | null {
  const text = optionalText(tuple, reader, 'expiration')
  if (text === null || text === '') return null
  if (/^\d{1,15}$/.test(text) && Number(text) <= expiration_ms_max) return text
  throw invalid(
    `expiration is ${JSON.stringify(text)}; expected whole milliseconds as text, from 0 to ${expiration_ms_max}`,
  )
}

export function priorityOf(tuple: SourceTuple, reader: RowReader): number | null {
  const text = optionalText(tuple, reader, 'priority')
  if (text === null || text === '') return null
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return Number(text)
  throw invalid(`priority is ${JSON.stringify(text)}; expected a whole number from 0 to 255`)
}

/** The payload as it is sent: the text verbatim, a bytea's raw bytes, nothing for NULL. `EVENT_TOO_LARGE` over `max`. */
export function bodyOf(tuple: SourceTuple, reader: RowReader, max: number): Buffer {
  const bytes = tuple.bytes(reader.index.payload)
  if (bytes === null) return emptyBody
  const size = reader.payload.bytea ? byteaSize(bytes) : bytes.length
  if (size > max) {
    throw new BridgeError('EVENT_TOO_LARGE', `payload is ${size} bytes; sink.maxMessageSize allows ${max}`)
  }
  return reader.payload.bytea ? decodeBytea(bytes) : bytes
}

/** For the dead letter of a bad row: never throws, null for what cannot be held. */
export function keptText(tuple: SourceTuple, reader: RowReader, column: LogicalColumn): string | null {
  const index = reader.index[column]
  return index === -1 || tuple.byteLength(index) > keptText_bytes_max ? null : tuple.text(index)
}

function invalid(message: string): BridgeError {
  return new BridgeError('EVENT_INVALID', message)
}
