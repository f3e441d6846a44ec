import type { Invariant, Violation } from './violation.ts'

/** A figure that must not be over its limit: times in milliseconds, sizes in bytes, counts. */
export interface Bound {
  /** I8: recoveries, memory, series of reconnects. I10: checkpoints, shutdowns, WAL when idle, keep-alives. */
  readonly invariant: Invariant
  readonly what: string
  readonly value: number
  readonly limit: number
}

/** I8 and I10: it comes back, and does no harm. */
export function checkBounds(bounds: readonly Bound[]): Violation[] {
  return bounds
    .filter(({ value, limit }) => !(value <= limit))
    .map(({ invariant, what, value, limit }) => ({
      invariant,
      what: `${what}: ${Math.round(value)}, at most ${limit}`,
      count: 1,
    }))
}
