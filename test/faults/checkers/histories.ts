import type { CheckpointChange, Delivery, LedgerView, WitnessedRow, WrittenRow } from './history.ts'

/** Event n of a history that went well: one transaction each, aggregates `a` and `b` in turn, a second apart. */
export function delivery(n: number, change: Partial<Delivery> = {}): Delivery {
  const { commitLsn, ordinal, id } = witnessedRow(n)
  const { aggregate, sequence, digest } = writtenRow(n)
  const at = n * 1000
  return {
    id,
    commitLsn,
    ordinal,
    aggregate,
    sequence,
    digest,
    replay: undefined,
    redelivered: false,
    committedAt: at,
    arrivedAt: at + 10,
    ...change,
  }
}

export function writtenRow(n: number): WrittenRow {
  return { aggregate: n % 2 === 1 ? 'a' : 'b', sequence: Math.ceil(n / 2), digest: `digest ${n}` }
}

/** Commit record at 100 n, end at 100 n + 50. */
export function witnessedRow(n: number): WitnessedRow {
  return { id: `e${n}`, commitLsn: BigInt(n) * 100n, ordinal: 0 }
}

/** Events 1 to `count` committed, or others where told. */
export function ledger(count: number, change: Partial<LedgerView> = {}): LedgerView {
  const committed = new Map(range(count).map((n) => [`e${n}`, writtenRow(n)]))
  return { committed, aborted: new Set(), unknown: new Map(), ...change }
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n + 1)
}

/** The checkpoint row at the end of event n. */
export function change(version: number, n: number, more: Partial<CheckpointChange> = {}): CheckpointChange {
  return {
    at: n * 1000 + 500,
    version: BigInt(version),
    epoch: 1n,
    stored: { lsn: BigInt(n) * 100n + 50n, partial: null },
    ...more,
  }
}
