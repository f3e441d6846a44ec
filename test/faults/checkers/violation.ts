export const invariants = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10', 'I11'] as const

export type Invariant = (typeof invariants)[number]

/**
 * One way in which an invariant did not hold. `G9`: the guarantee that a replay is separate, and exact. `oracle`: ledger
 * and witness contradict each other, so nothing is proven.
 */
export interface Violation {
  readonly invariant: Invariant | 'G9' | 'oracle'
  readonly what: string
  /** How many events it concerns; 1 for what is not about events. */
  readonly count: number
}

/** The first few of many, for a message that can be read. */
export function some(items: readonly string[], limit = 5): string {
  const shown = items.slice(0, limit).join(', ')
  return items.length > limit ? `${shown} and ${items.length - limit} more` : shown
}

/** No violation for an empty list, else one that names the first of them. */
export function violationOf(invariant: Violation['invariant'], what: string, items: readonly string[]): Violation[] {
  return items.length === 0 ? [] : [{ invariant, what: `${what}: ${some(items)}`, count: items.length }]
}
