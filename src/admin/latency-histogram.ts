/** Upper bounds in seconds: a confirm on one machine takes 1 ms, a quorum queue under load 0.1 s, overdue is 30 s. */
export const latencyBounds: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]

/**
 * A Prometheus histogram of durations for the hot path: one call settles a whole batch of confirms that share a
 * duration, which prom-client's Histogram cannot do (and it costs some 150 ns a call).
 */
export class LatencyHistogram {
  /** One more than the bounds: the last counts what exceeds them all. */
  readonly #counts: number[]
  readonly #bounds: readonly number[]
  #sum = 0

  constructor(bounds: readonly number[] = latencyBounds) {
    if (bounds.some((bound, i) => i > 0 && bound <= bounds[i - 1]!))
      throw new RangeError(`not the bounds of a histogram: ${bounds.join(', ')} (expected rising numbers)`)
    this.#bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  /** Counts `count` events that each took `seconds`. A clock that went back counts as 0. */
  observe(seconds: number, count = 1): void {
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++
    this.#counts[bucket]! += count
    if (seconds > 0) this.#sum += seconds * count
  }

  /** Events counted so far. */
  get count(): number {
    return this.#counts.reduce((total, n) => total + n, 0)
  }

  /** The metric in the text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/ */
  exposition(name: string, help: string): string {
    const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`]
    let total = 0
    for (const [i, count] of this.#counts.entries()) {
      total += count
      lines.push(`${name}_bucket{le="${this.#bounds[i] ?? '+Inf'}"} ${total}`)
    }
    lines.push(`${name}_sum ${this.#sum}`, `${name}_count ${total}`)
    return `${lines.join('\n')}\n`
  }
}
