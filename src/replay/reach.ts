import type { Lsn } from '../base/lsn.ts'

/** A slot that older WAL can be streamed from, by a copy of it: the live one, or an anchor. */
export interface ReplaySlot {
  readonly name: string
  /** A copy streams what commits from here on; undefined while the slot is being created. */
  readonly confirmedFlushLsn: Lsn | undefined
  /** Why PostgreSQL will not stream from it ever again; undefined when it will. */
  readonly invalidation: string | undefined
}

/** The youngest slot from which everything that commits at `lsn` or above can be streamed: the least to decode. */
export function baseSlotFor<S extends ReplaySlot>(slots: readonly S[], lsn: Lsn): S | undefined {
  const usable = slots.filter((slot) => reaches(slot) && slot.confirmedFlushLsn! <= lsn)
  return usable.toSorted((a, b) => compare(b.confirmedFlushLsn!, a.confirmedFlushLsn!))[0]
}

/** How far back the WAL reaches; undefined when no slot can be streamed from. */
export function walFloor(slots: readonly ReplaySlot[]): Lsn | undefined {
  return slots
    .filter(reaches)
    .map((slot) => slot.confirmedFlushLsn!)
    .toSorted(compare)[0]
}

function reaches({ confirmedFlushLsn, invalidation }: ReplaySlot): boolean {
  return confirmedFlushLsn !== undefined && invalidation === undefined
}

function compare(a: Lsn, b: Lsn): number {
  return a < b ? -1 : a > b ? 1 : 0
}
