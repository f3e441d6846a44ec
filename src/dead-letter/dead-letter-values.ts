import { formatLsn } from '../base/lsn.ts'
import type { Undeliverable } from '../sink/undeliverable.ts'
import { aggregateKey, eventKey } from './keys.ts'
import { encodeMessage } from './stored-message.ts'
import { encodeRow } from './stored-row.ts'

/** The columns of `wal2rabbit.dead_letter` that the bridge writes beside `slot`, in the order of a DeadLetterValues. */
export const writtenColumns = [
  'commit_lsn',
  'ordinal',
  'committed_at',
  'event_id',
  'event_key',
  'aggregate_type',
  'aggregate_id',
  'aggregate_key',
  'type',
  'exchange',
  'routing_key',
  'properties',
  'body',
  'row_columns',
  'row_shape',
  'reason_code',
  'reason_text',
  'attempts',
  'replay_id',
] as const

export type WrittenColumn = (typeof writtenColumns)[number]

/** What is written of one dead letter. */
export type DeadLetterValues = Readonly<Record<WrittenColumn, string | number | Buffer | null>>

/** Longest text of a reason that is kept, in UTF-16 units. */
const reasonText_length_max = 4000

/**
 * A dead letter as its table holds it. `reasonText` where the store knows better than the refusal. One that a replay met
 * has no aggregate key: neither does it wait behind dead letters of the live stream, nor do those wait for it.
 */
export function deadLetterValues(
  { row, refusal }: Undeliverable,
  reasonText = refusal.text,
  replayId: string | null = null,
): DeadLetterValues {
  const { message, refused, origin } = row
  const body = message?.body ?? refused?.body ?? null
  const { columns, shape } = encodeRow(origin, body ?? Buffer.alloc(0))
  return {
    commit_lsn: formatLsn(row.commitLsn),
    ordinal: row.ordinal,
    committed_at: origin.transaction.committedAt,
    event_id: storable(row.eventId ?? ''),
    event_key: eventKey(row.eventId),
    aggregate_type: storable(row.aggregateType ?? ''),
    aggregate_id: storable(row.aggregateId ?? ''),
    aggregate_key: replayId === null ? aggregateKey(row.aggregateType, row.aggregateId) : null,
    type: storable(row.type ?? ''),
    exchange: storableOrNull(message?.exchange ?? refused?.exchange),
    routing_key: storableOrNull(message?.routingKey ?? refused?.routingKey),
    properties: message === undefined ? null : encodeMessage(message),
    body,
    row_columns: columns,
    row_shape: shape,
    reason_code: refusal.code,
    reason_text: storable(reasonText.slice(0, reasonText_length_max)),
    attempts: row.attempts,
    replay_id: replayId,
  }
}

/**
 * The same where PostgreSQL refused it for its content: texts in printable ASCII, which a database of every encoding
 * holds; the message itself is in properties and body, and stays.
 */
export function plainValues(values: DeadLetterValues, refusedBecause: string): DeadLetterValues {
  const note = `${String(values.reason_text)} (kept with its texts in ASCII: ${refusedBecause})`
  const plain: Partial<Record<WrittenColumn, string | null>> = {}
  for (const column of textColumns) {
    const value = values[column]
    plain[column] = typeof value === 'string' ? printable(value) : null
  }
  return { ...values, ...plain, reason_text: printable(note) }
}

const textColumns = ['event_id', 'aggregate_type', 'aggregate_id', 'type', 'exchange', 'routing_key'] as const

/** A text of PostgreSQL holds no NUL; none came from there, but a broker's words may. */
function storable(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text
}

function storableOrNull(text: string | null | undefined): string | null {
  return text === null || text === undefined ? null : storable(text)
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
