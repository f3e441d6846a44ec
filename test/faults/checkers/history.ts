import type { Lsn } from '../../../src/base/lsn.ts'

/** Where an event lies: its transaction's commit LSN, and its 0-based number therein. */
export interface Place {
  readonly commitLsn: Lsn
  readonly ordinal: number
}

/** A row that a writer inserted. */
export interface WrittenRow {
  readonly aggregate: string
  /** 1, 2, 3 … within its aggregate, without a gap over what committed. */
  readonly sequence: number
  /** Of routing key, type, body and headers, as they must arrive. */
  readonly digest: string
}

/** What the writers know. `unknown`: the connection broke during COMMIT and nobody could tell the outcome. */
export interface LedgerView {
  readonly committed: ReadonlyMap<string, WrittenRow>
  readonly aborted: ReadonlySet<string>
  readonly unknown: ReadonlyMap<string, WrittenRow>
}

export interface WitnessedRow extends Place {
  readonly id: string
}

/** One message as it came out of the queue. */
export interface Delivery extends Place {
  readonly id: string
  readonly aggregate: string
  readonly sequence: number
  readonly digest: string
  /** Header wal-replay: the id of the replay that published it; undefined for the live stream. */
  readonly replay: string | undefined
  /** The queue gave it before to a consumer that did not acknowledge it: no publish of the bridge. */
  readonly redelivered: boolean
  /** Milliseconds since the epoch. */
  readonly arrivedAt: number
  /** When its transaction committed, milliseconds since the epoch by PostgreSQL's clock. */
  readonly committedAt: number
}

export interface StoredPosition {
  readonly lsn: Lsn
  /** Inside the next transaction: its commit LSN, and how many of its rows are settled. */
  readonly partial: { readonly commitLsn: Lsn; readonly rows: number } | null
}

/** The checkpoint row after one change of it, version by version. `at`: milliseconds by PostgreSQL's clock. */
export interface CheckpointChange {
  readonly at: number
  readonly version: bigint
  readonly epoch: bigint
  readonly stored: StoredPosition
}

/** The slot, and the checkpoint row read after it. */
export interface PositionSample {
  readonly at: number
  readonly acknowledged: Lsn
  readonly stored: Lsn
}

/** Whether the row at `place` lies at or below the stored position. */
export function isCovered(place: Place, { lsn, partial }: StoredPosition): boolean {
  if (place.commitLsn < lsn) return true
  return partial !== null && place.commitLsn === partial.commitLsn && place.ordinal < partial.rows
}

export function comparePlaces(a: Place, b: Place): number {
  if (a.commitLsn !== b.commitLsn) return a.commitLsn < b.commitLsn ? -1 : 1
  return a.ordinal - b.ordinal
}

/** First deliveries of each id, in order of arrival. */
export function firstDeliveries(deliveries: readonly Delivery[]): Delivery[] {
  const seen = new Set<string>()
  return deliveries.filter(({ id }) => !seen.has(id) && seen.add(id))
}

/** What the bridge published, as far as it can be told: without the queue's own second tries. */
export function publishedDeliveries(deliveries: readonly Delivery[]): Delivery[] {
  const seen = new Set<string>()
  return deliveries.filter(({ id, redelivered }) => {
    const again = seen.has(id)
    seen.add(id)
    return !(again && redelivered)
  })
}
