import type { Lsn } from '../base/lsn.ts'

/** How much of the fastest rate still counts with the next look, when that shows less: load comes in bursts. */
const rateKept = 0.8
/** So long the most growth counts half, milliseconds: what held up one look will hold up another. */
const growthHalfLife = 10_000

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
    const elapsed = Math.max(1, at - last.at)
    this.#rate = Math.max(grown / elapsed, (this.#rate ?? 0) * rateKept)
    this.#growth = Math.max(grown, (this.#growth ?? 0) * 0.5 ** (elapsed / growthHalfLife))
  }
}
