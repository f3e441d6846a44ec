import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { StoredColumn } from './stored-row.ts'

/** A dead letter as it is listed. Source: `wal2rabbit.dead_letter`; a text that the row did not give is null. */
export interface DeadLetter {
  readonly id: string
  readonly commitLsn: Lsn
  readonly ordinal: number
  /** ISO 8601 with microseconds, in UTC; so are the other times. */
  readonly committedAt: string | null
  readonly eventId: string | null
  readonly aggregateType: string | null
  readonly aggregateId: string | null
  /** See keys.ts; null when the row does not name an aggregate. */
  readonly aggregateKey: string | null
  readonly type: string | null
  readonly exchange: string | null
  readonly routingKey: string | null
  readonly bodyBytes: number
  readonly reasonCode: string
  readonly reasonText: string
  readonly attempts: number
  readonly firstFailedAt: string
  readonly lastFailedAt: string
  readonly state: string
  readonly replayId: string | null
  /** Later events of its aggregate are parked behind a dead letter. */
  readonly isAggregateParked: boolean
}

/** With everything that the event consists of. */
export interface WholeDeadLetter extends DeadLetter {
  /** As stored-message.ts writes it; null where the row could not be made into a message. */
  readonly message: string | null
  readonly body: Buffer | null
  readonly rowColumns: Readonly<Record<string, string | null>>
  readonly rowShape: readonly StoredColumn[]
}

const isoSql = (column: string) =>
  `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ${column.slice(column.indexOf('.') + 1)}`

/** The columns that parseDeadLetter() reads, `FROM` deadLettersSql. */
export const deadLetterColumnsSql = `letter.id::text AS id, letter.commit_lsn::text AS commit_lsn,
  letter.ordinal::text AS ordinal, ${isoSql('letter.committed_at')}, letter.event_id, letter.aggregate_type,
  letter.aggregate_id, letter.aggregate_key, letter.type, letter.exchange, letter.routing_key,
  coalesce(octet_length(letter.body), 0) AS body_bytes, letter.reason_code, letter.reason_text,
  letter.attempts::text AS attempts, ${isoSql('letter.first_failed_at')}, ${isoSql('letter.last_failed_at')},
  letter.state, letter.replay_id, parked.behind_event_id`

export const deadLettersSql = `wal2rabbit.dead_letter AS letter LEFT JOIN wal2rabbit.parked_aggregate AS parked
  ON parked.slot = letter.slot AND parked.aggregate_key = letter.aggregate_key`

/** The columns that parseWhole() reads beside those. */
export const wholeColumnsSql = `letter.properties::text AS properties, letter.body,
  letter.row_columns::text AS row_columns, letter.row_shape::text AS row_shape`

export function parseDeadLetter(row: Record<string, unknown>): DeadLetter {
  const behind = textOrNull(row.behind_event_id)
  const waits = row.reason_code === 'EVENT_PARKED' && behind !== null
  return {
    id: String(row.id),
    commitLsn: parseLsn(String(row.commit_lsn)),
    ordinal: Number(row.ordinal),
    committedAt: textOrNull(row.committed_at),
    eventId: textOrNull(row.event_id),
    aggregateType: textOrNull(row.aggregate_type),
    aggregateId: textOrNull(row.aggregate_id),
    aggregateKey: textOrNull(row.aggregate_key),
    type: textOrNull(row.type),
    exchange: row.exchange === null ? null : String(row.exchange), // '' is the default exchange
    routingKey: row.routing_key === null ? null : String(row.routing_key),
    bodyBytes: Number(row.body_bytes),
    reasonCode: String(row.reason_code),
    reasonText: waits ? `waits behind event ${behind}` : String(row.reason_text),
    attempts: Number(row.attempts),
    firstFailedAt: String(row.first_failed_at),
    lastFailedAt: String(row.last_failed_at),
    state: String(row.state),
    replayId: textOrNull(row.replay_id),
    isAggregateParked: row.behind_event_id !== null,
  }
}

export function parseWhole(row: Record<string, unknown>): WholeDeadLetter {
  return {
    ...parseDeadLetter(row),
    message: textOrNull(row.properties),
    body: Buffer.isBuffer(row.body) ? row.body : null,
    rowColumns: row.row_columns === null ? {} : JSON.parse(String(row.row_columns)),
    rowShape: row.row_shape === null ? [] : JSON.parse(String(row.row_shape)),
  }
}

function textOrNull(value: unknown): string | null {
  return value === null || value === '' ? null : String(value)
}
