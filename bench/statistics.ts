/** The middle value; the mean of the two in the middle when their number is even. Throws a RangeError for none. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The smallest value that at least `percent` of all values do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = ascending(values)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values)
  return { median: median(sorted), min: sorted[0]!, max: sorted.at(-1)! }
}

function ascending(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError('no values to summarize')
  return [...values].sort((a, b) => a - b)
}
