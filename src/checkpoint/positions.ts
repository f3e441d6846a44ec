import { assert } from '../base/assert.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { StartPosition } from '../source/source.ts'

/**
 * The five positions of a session: received ≥ published ≥ settled ≥ stored ≥ acknowledged. Each only moves forward, and
 * none ever passes the one before it; a breach would lose data, so it throws ASSERTION_FAILED. No I/O.
 *
 * Received and published count up to the last commit LSN inside an open transaction; the other three are end LSNs, and
 * settled and stored also say how many rows of the next transaction they cover.
 */
export class Positions {
  #received: Lsn
  #published: Lsn
  #settled: StartPosition
  #stored: StartPosition
  #acknowledged: Lsn

  /** `start` is what the session was started with; what was stored by then may lie below it, never above. */
  constructor(start: StartPosition, stored: StartPosition = start, acknowledged: Lsn = stored.lsn) {
    assert(
      comparePositions(stored, start) <= 0,
      () => `stored ${describePosition(stored)} lies above the start ${describePosition(start)}`,
    )
    assert(
      acknowledged <= stored.lsn,
      () => `acknowledged ${formatLsn(acknowledged)} lies above stored ${formatLsn(stored.lsn)}`,
    )
    this.#received = reach(start)
    this.#published = reach(start)
    this.#settled = start
    this.#stored = stored
    this.#acknowledged = acknowledged
  }

  get received(): Lsn {
    return this.#received
  }

  get published(): Lsn {
    return this.#published
  }

  get settled(): StartPosition {
    return this.#settled
  }

  get stored(): StartPosition {
    return this.#stored
  }

  get acknowledged(): Lsn {
    return this.#acknowledged
  }

  moveReceived(lsn: Lsn): void {
    this.#received = forward('received', this.#received, lsn)
  }

  movePublished(lsn: Lsn): void {
    bounded('published', lsn, 'received', this.#received)
    this.#published = forward('published', this.#published, lsn)
  }

  /** Also moves published where settled passes it: what needed no publishing, such as an empty transaction. */
  moveSettled(position: StartPosition): void {
    bounded('settled', reach(position), 'received', this.#received)
    assertForward('settled', this.#settled, position)
    this.#settled = position
    if (reach(position) > this.#published) this.#published = reach(position)
  }

  /** Only after PostgreSQL has answered that the checkpoint row is written. */
  moveStored(position: StartPosition): void {
    assert(
      comparePositions(position, this.#settled) <= 0,
      () => `stored ${describePosition(position)} would pass settled ${describePosition(this.#settled)}`,
    )
    assertForward('stored', this.#stored, position)
    this.#stored = position
  }

  /** The only gate to the slot: nothing above the stored LSN may ever be told to it. Returns what to tell. */
  moveAcknowledged(lsn: Lsn): Lsn {
    bounded('acknowledged', lsn, 'stored', this.#stored.lsn)
    this.#acknowledged = forward('acknowledged', this.#acknowledged, lsn)
    return lsn
  }
}

/** Negative when `a` lies before `b`. A partial position lies after its LSN, and the more rows the further. */
export function comparePositions(a: StartPosition, b: StartPosition): number {
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1
  if (a.partial === null || b.partial === null) return (a.partial === null ? 0 : 1) - (b.partial === null ? 0 : 1)
  if (a.partial.commitLsn !== b.partial.commitLsn) return a.partial.commitLsn < b.partial.commitLsn ? -1 : 1
  return a.partial.rows - b.partial.rows
}

/** `16/B374D848`, or `16/B374D848 and 3 rows of 16/B374D900`. */
export function describePosition(position: StartPosition): string {
  const { lsn, partial } = position
  return partial === null
    ? formatLsn(lsn)
    : `${formatLsn(lsn)} and ${partial.rows} rows of ${formatLsn(partial.commitLsn)}`
}

function reach(position: StartPosition): Lsn {
  if (position.partial === null) return position.lsn
  assert(
    position.partial.commitLsn >= position.lsn,
    () => `${describePosition(position)}: the transaction lies before the LSN`,
  )
  return position.partial.commitLsn
}

function forward(name: string, from: Lsn, to: Lsn): Lsn {
  assert(to >= from, () => `${name} would move back from ${formatLsn(from)} to ${formatLsn(to)}`)
  return to
}

function assertForward(name: string, from: StartPosition, to: StartPosition): void {
  assert(
    comparePositions(to, from) >= 0,
    () => `${name} would move back from ${describePosition(from)} to ${describePosition(to)}`,
  )
}

function bounded(name: string, lsn: Lsn, limitName: string, limit: Lsn): void {
  assert(lsn <= limit, () => `${name} ${formatLsn(lsn)} would pass ${limitName} ${formatLsn(limit)}`)
}
