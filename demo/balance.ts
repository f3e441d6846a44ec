import { type Lsn, noLsn, parseLsn } from '../src/base/lsn.ts'

/** What the shop knows of its own events. */
export interface Ledger {
  /** Ids of committed events, in commit order. */
  readonly committed: readonly string[]
  /** Ids of events whose transaction or savepoint was rolled back. */
  readonly rolledBack: readonly string[]
}

/** One message as the consumer got it: `wal-lsn` and `wal-ordinal` are its position. */
export interface Arrival {
  readonly id: string
  readonly lsn: string
  readonly ordinal: number
}

/** The account of a run. Everything but `delivered`, `repeated` and the totals has to be empty. */
export interface Balance {
  readonly committed: number
  readonly rolledBack: number
  /** Different ids that arrived. */
  readonly delivered: number
  /** Arrivals of an id that had arrived before: allowed after a lost connection. */
  readonly repeated: number
  readonly lost: readonly string[]
  readonly rolledBackButSeen: readonly string[]
  readonly unknown: readonly string[]
  /** First arrivals that came after one of a later position, or in another order than the commits. */
  readonly outOfOrder: readonly string[]
  /** Repeats that named another position than the first time. */
  readonly moved: readonly string[]
  /** Events that the stored LSN does not cover although all is delivered. */
  readonly notStored: readonly string[]
  readonly right: boolean
}

/** Compares what was committed with what arrived, in order of arrival, and with the LSN that the bridge stored. */
export function balanceOf(ledger: Ledger, arrivals: readonly Arrival[], storedLsn: string): Balance {
  const first = new Map<string, Arrival>()
  for (const arrival of arrivals) if (!first.has(arrival.id)) first.set(arrival.id, arrival)
  const committed = new Set(ledger.committed)
  const rolledBack = new Set(ledger.rolledBack)
  const faults = {
    lost: [...committed].filter((id) => !first.has(id)),
    rolledBackButSeen: [...first.keys()].filter((id) => rolledBack.has(id)),
    unknown: [...first.keys()].filter((id) => !rolledBack.has(id) && !committed.has(id)),
    outOfOrder: outOfOrder(ledger.committed, [...first.values()]),
    moved: arrivals.filter((arrival) => !samePosition(arrival, first.get(arrival.id)!)).map(({ id }) => id),
    notStored: [...first.values()].filter(({ lsn }) => parseLsn(lsn) >= parseLsn(storedLsn)).map(({ id }) => id),
  }
  return {
    committed: committed.size,
    rolledBack: rolledBack.size,
    delivered: first.size,
    repeated: arrivals.length - first.size,
    ...faults,
    right: Object.values(faults).every((ids) => ids.length === 0),
  }
}

function outOfOrder(committed: readonly string[], firstArrivals: readonly Arrival[]): string[] {
  const arrived = new Set(firstArrivals.map(({ id }) => id))
  const expected = committed.filter((id) => arrived.has(id))
  const known = new Set(expected)
  const wrong = new Set<string>()
  let last: { readonly lsn: Lsn; readonly ordinal: number } = { lsn: noLsn, ordinal: -1 }
  for (const { id, lsn, ordinal } of firstArrivals) {
    const position = { lsn: parseLsn(lsn), ordinal }
    if (position.lsn < last.lsn || (position.lsn === last.lsn && ordinal <= last.ordinal)) wrong.add(id)
    else last = position
  }
  for (const [i, { id }] of firstArrivals.filter(({ id }) => known.has(id)).entries())
    if (id !== expected[i]) wrong.add(id)
  return [...wrong]
}

function samePosition(a: Arrival, b: Arrival): boolean {
  return a.lsn === b.lsn && a.ordinal === b.ordinal
}
