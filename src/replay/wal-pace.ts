import type { Lsn } from '../base/lsn.ts'

/** How much of what was the most still counts with the next look, when that shows less: load comes in bursts. */
const kept = { rate: 0.8, growth: 0.95 }

/** How fast WAL grows of late, from looks at its end. Undefined before the second look. */
export class WalPace {
  #last: { readonly at: number; readonly walEnd: Lsn } | undefined
  #rate: number | undefined
  #growth: number | undefined

  /** Bytes a millisecond. */
  get rate(): number | undefined {
    return this.#rate
  }

  /** The most bytes from one look to the next, however late that came. */
  get growth(): number | undefined {
    return this.#growth
  }

  /** `at` in milliseconds of a clock that never goes back. */
  note(at: number, walEnd: Lsn): void {
    const last = this.#last
    this.#last = { at, walEnd }
    if (last === undefined) return
    const grown = Math.max(0, Number(walEnd - last.walEnd))
    this.#rate = Math.max(grown / Math.max(1, at - last.at), (this.#rate ?? 0) * kept.rate)
    this.#growth = Math.max(grown, (this.#growth ?? 0) * kept.growth)
  }
}
