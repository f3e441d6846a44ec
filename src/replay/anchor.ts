import type { Lsn } from '../base/lsn.ts'

/** An anchor slot as PostgreSQL shows it. */
export interface Anchor {
  readonly name: string
  /** When it was made, as its name says. */
  readonly madeAt: Date
  /** Both are undefined while it is being made, the second also when it is invalidated. */
  readonly confirmedFlushLsn: Lsn | undefined
  readonly restartLsn: Lsn | undefined
  /** Why PostgreSQL will never stream from it again. */
  readonly invalidation: string | undefined
  readonly active: boolean
}

/** The live slot, as far as it matters here. */
export type LiveSlot = Omit<Anchor, 'name' | 'madeAt'>

/** Bytes of WAL that it keeps from being removed. */
export function retainedBy({ restartLsn }: Anchor, walEnd: Lsn): bigint {
  return restartLsn === undefined || restartLsn > walEnd ? 0n : walEnd - restartLsn
}

/** Whether a copy of it can be streamed from. */
export function usable({ confirmedFlushLsn, invalidation }: Anchor): boolean {
  return confirmedFlushLsn !== undefined && invalidation === undefined
}

/** Bytes of WAL from one to a younger one. */
export function distance(elder: Anchor, younger: Anchor): bigint {
  return position(younger) - position(elder)
}

/** One that has none yet is being made, and so is the newest. */
export function position({ confirmedFlushLsn }: Anchor): Lsn {
  return confirmedFlushLsn ?? 1n << 64n
}

/** Oldest first. */
export function byPosition(a: Anchor, b: Anchor): number {
  const gap = distance(b, a)
  return gap < 0n ? -1 : gap > 0n ? 1 : a.name < b.name ? -1 : 1
}
