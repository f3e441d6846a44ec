import type { Lsn } from '../base/lsn.ts'
import type { SourceEvent, SourceRow, StartPosition } from '../source/source.ts'

/**
 * What a replay takes of the stream: transactions whose commit record starts at `from.lsn` or above and below `to.lsn`.
 * `from.rows` rows of the transaction at `from.lsn` lie before the range; `to.rows` rows of the one at `to.lsn` still
 * belong to it.
 */
export interface ReplayRange {
  readonly from: { readonly lsn: Lsn; readonly rows: number }
  readonly to: { readonly lsn: Lsn; readonly rows: number }
  /** ISO 8601 with microseconds in UTC: transactions that committed then or later. */
  readonly committedFrom?: string | undefined
  /** Transactions that committed before. */
  readonly committedBefore?: string | undefined
}

/** Where a stream of this range starts. */
export function startOf({ from }: ReplayRange): StartPosition {
  return { lsn: from.lsn, partial: from.rows === 0 ? null : { commitLsn: from.lsn, rows: from.rows } }
}

/** Nothing can lie in it. */
export function isEmptyRange({ from, to }: ReplayRange): boolean {
  return from.lsn > to.lsn || (from.lsn === to.lsn && from.rows >= to.rows)
}

/** Whether a row belongs to the range; `end`: it lies behind it, and so does all that follows. */
export function judgeRow(range: ReplayRange, row: SourceRow): 'take' | 'skip' | 'end' {
  const { from, to, committedFrom, committedBefore } = range
  const { commitLsn, committedAt } = row.transaction
  if (commitLsn > to.lsn || (commitLsn === to.lsn && row.ordinal >= to.rows)) return 'end'
  if (commitLsn < from.lsn || (commitLsn === from.lsn && row.ordinal < from.rows)) return 'skip'
  // Commit times are not strictly in the order of the WAL, so they never end the range.
  if (committedFrom !== undefined && committedAt < committedFrom) return 'skip'
  return committedBefore !== undefined && committedAt >= committedBefore ? 'skip' : 'take'
}

/** Whether nothing of the range can follow a mark: the end of a transaction, or all below `walEnd` handed on. */
export function isPast({ to }: ReplayRange, mark: Exclude<SourceEvent, SourceRow>): boolean {
  const reached = mark.kind === 'commit' ? mark.endLsn : mark.walEnd
  // The next transaction's commit record can start where the last one's ends.
  return to.rows === 0 ? reached >= to.lsn : reached > to.lsn
}

/** Whether all of it lies below a settled position: a replay that was killed there has nothing left but to be recorded. */
export function isSettled(range: ReplayRange, { lsn, partial }: StartPosition): boolean {
  const { to } = range
  if (partial === null) return isPast(range, { kind: 'idle', walEnd: lsn })
  return partial.commitLsn > to.lsn || (partial.commitLsn === to.lsn && partial.rows >= to.rows)
}
