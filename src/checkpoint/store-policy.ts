import { type Lsn, maxLsn } from '../base/lsn.ts'
import type { StartPosition } from '../source/source.ts'
import { comparePositions } from './positions.ts'

/** What decides whether the settled position is stored now. Times are milliseconds of one clock. */
export interface StoreFacts {
  readonly now: number
  /** When the last store was answered; the session's start before the first. */
  readonly lastStoreAt: number
  /** checkpoint.interval */
  readonly interval: number
  readonly settled: StartPosition
  readonly stored: StartPosition
  /** Rows settled since the last store. */
  readonly rowsSettled: number
  /** The server's WAL end right after our own last store; the stored LSN before the first. */
  readonly walEndAfterStore: Lsn
}

/** `at` is when to look again, on the same clock; `never`: not before something else happens. */
export type StoreDecision = { readonly store: true } | { readonly store: false; readonly at: number | 'never' }

/** Progress without rows: from how many bytes of WAL on, and how many milliseconds after the last store. */
const idleLarge = { bytes: 64n * 1024n, wait: 1000 }
const idleSmall = { bytes: 512n, wait: 5000 }
/** The same below the WAL end after our own store, while the server decodes a backlog of other tables. */
const idleBacklog = { bytes: 1024n * 1024n, wait: 1000 }
/** Segments begin at multiples of this, whatever their size; up to `idleHeld` of progress may wait at one. */
const segmentUnit = 1024n * 1024n
const idleHeld = 64n * 1024n * 1024n

/**
 * Settled rows and the end of their transaction are stored after `interval`. Progress without rows, known from
 * keep-alives and empty transactions, is stored rarely, because storing makes WAL, and so that a store is never the
 * reason for the next one:
 * - It counts from the WAL end after our own last store. 512 bytes cover what an otherwise idle server adds to that: 48
 *   for our commit record, 56 for a running-xacts record, 176 for the next checkpoint (measured on PostgreSQL 15).
 * - archive_timeout switches to a new segment after each of our stores, 16 MiB away. So a position at the very start of
 *   a segment waits until somebody writes more.
 */
export function decideStore(facts: StoreFacts): StoreDecision {
  const { settled, stored, interval, walEndAfterStore } = facts
  if (comparePositions(settled, stored) <= 0) return { store: false, at: 'never' }
  if (facts.rowsSettled > 0 || settled.partial !== null || stored.partial !== null) return due(facts, interval)

  if (settled.lsn <= walEndAfterStore) {
    const backlog = settled.lsn - stored.lsn > idleBacklog.bytes
    return backlog ? due(facts, Math.max(idleBacklog.wait, interval)) : { store: false, at: 'never' }
  }
  const progress = settled.lsn - maxLsn(walEndAfterStore, stored.lsn)
  const atSegmentStart = settled.lsn % segmentUnit <= idleSmall.bytes && progress <= idleHeld
  if (progress <= idleSmall.bytes || atSegmentStart) return { store: false, at: 'never' }
  return due(facts, Math.max(progress > idleLarge.bytes ? idleLarge.wait : idleSmall.wait, interval))
}

function due(facts: StoreFacts, wait: number): StoreDecision {
  const at = facts.lastStoreAt + wait
  return facts.now >= at ? { store: true } : { store: false, at }
}
