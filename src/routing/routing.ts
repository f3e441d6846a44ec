import type { Lsn } from '../base/lsn.ts'
import type { OutboundMessage, Refusal, RefusedContent, UnroutablePolicy } from '../sink/sink.ts'
import type { SourceRow } from '../source/source.ts'

/** What holds for every row; enough, with message and refusal, to take it into the confirm window. */
interface RoutedRow {
  readonly commitLsn: Lsn
  readonly ordinal: number
  /** Commit time in whole seconds since the epoch. */
  readonly committedAtSeconds: number
  /** What to do when no queue takes it: the route's policy, or the general one. */
  readonly unroutable: UnroutablePolicy
  /** For the dead letter, should it become one. */
  readonly origin: SourceRow
}

/** A row that became a message. */
export interface RoutedMessage extends RoutedRow {
  readonly message: OutboundMessage
  readonly refusal: undefined
  readonly refused: undefined
  readonly eventId: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly type: string
}

/**
 * A row that no message can be made of, kept whole for the dead letter. A text is null when the column is NULL, is not
 * mapped, or is too long to be held as text.
 */
export interface RefusedRow extends RoutedRow {
  readonly message: undefined
  /** `EVENT_INVALID` or `EVENT_TOO_LARGE`. */
  readonly refusal: Refusal
  readonly eventId: string | null
  readonly aggregateType: string | null
  readonly aggregateId: string | null
  readonly type: string | null
  readonly refused: RefusedContent
}

export type RoutedEvent = RoutedMessage | RefusedRow

/** Row to message: the stage between source and sink. Pure: the same row gives the same message. */
export interface Routing {
  /**
   * Decides everything about the message of one row. A bad row is a RefusedRow; a table that does not fit the column
   * map throws a BridgeError `COLUMN_MISSING` or `COLUMN_TYPE`, because then every row of it would be refused.
   */
  route(row: SourceRow): RoutedEvent
}
