import { BridgeError } from '../base/errors.ts'
import type { RoutedEvent } from '../routing/routing.ts'
import type { WindowRowInput } from '../sink/confirm-window.ts'
import type { Refusal } from '../sink/sink.ts'
import type { SourceRow } from '../source/source.ts'
import type { WholeDeadLetter } from './dead-letter.ts'
import { decodeMessage } from './stored-message.ts'
import { restoreRow } from './stored-row.ts'

/** What became of one dead letter that was sent again. */
export type Outcome =
  /** Confirmed by the broker and not returned. */
  | { readonly kind: 'delivered' }
  | { readonly kind: 'failed'; readonly refusal: Refusal; readonly attempts: number }
  /** Not sent, as an earlier one of its aggregate failed. */
  | { readonly kind: 'waiting' }
  /** No answer: it may have been stored by the broker, or not. */
  | { readonly kind: 'unknown' }

export interface Delivery {
  /** One for each row, in their order. */
  readonly outcomes: readonly Outcome[]
  /** Why nothing more can be sent; then some outcomes are unknown. */
  readonly trouble: BridgeError | undefined
}

/** Sends messages with mandatory and confirm, in order, at most one of an aggregate in flight. */
export interface Redeliverer {
  /**
   * `held`: one flag for each row; where it is set, a failure keeps the later rows of the aggregate from being sent.
   * Positions must ascend. Rejects when the broker cannot be reached in the first place.
   */
  send(rows: readonly WindowRowInput[], held: readonly boolean[]): Promise<Delivery>
}

export interface Rerouting {
  /** `replayId`: of the replay that met it. */
  route(row: SourceRow, replayId: string | null): RoutedEvent
  readonly table: { readonly schema: string; readonly name: string }
}

/**
 * The dead letter as it goes into the window again: its message as it was, or, where the row could not be made into one,
 * what the present configuration makes of it. A refusal when that is still no message.
 */
export function windowRowOf(letter: WholeDeadLetter, routing: Rerouting): WindowRowInput | Refusal {
  const committedAt = letter.committedAt ?? '1970-01-01T00:00:00.000000Z'
  const body = letter.body ?? Buffer.alloc(0)
  const common = {
    commitLsn: letter.commitLsn,
    ordinal: letter.ordinal,
    committedAtSeconds: Math.floor(Date.parse(committedAt) / 1000),
    eventId: letter.eventId,
    aggregateType: letter.aggregateType,
    aggregateId: letter.aggregateId,
    type: letter.type,
    refusal: undefined,
    refused: undefined,
    unroutable: 'dead-letter', // a policy to block or to drop would settle it without a confirm
    origin: withoutColumns(committedAt),
  } as const
  try {
    if (letter.message !== null) return { ...common, message: decodeMessage(letter.message, body) }
    const { rowColumns: columns, rowShape: shape, commitLsn, ordinal } = letter
    if (shape.length === 0)
      return { code: 'EVENT_INVALID', text: 'its row was not kept, so no message can be made of it' }
    const row = restoreRow({ table: routing.table, columns, shape, body, commitLsn, ordinal, committedAt })
    const routed = routing.route(row, letter.replayId)
    return routed.message === undefined ? routed.refusal : { ...common, message: routed.message }
  } catch (error) {
    // A table that no longer fits the column map is wrong for this row only, which is an old one.
    if (!(error instanceof BridgeError) || error.action === 'bug') throw error
    return { code: 'EVENT_INVALID', text: error.message }
  }
}

function withoutColumns(committedAt: string): WindowRowInput['origin'] {
  return {
    relation: { columns: [] },
    tuple: { text: () => null, bytes: () => null, byteLength: () => 0, size: 0 },
    transaction: { committedAt },
  }
}
