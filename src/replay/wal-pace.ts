import type { Lsn } from '../base/lsn.ts'

/** So long the most that was seen counts half, milliseconds: load comes in bursts, and what held up one look will hold up another. */
const halfLife = { rate: 2500, growth: 10_000 }
/** Milliseconds that a rate is taken over, at least: WAL is written out in pieces. */
const span = 200

interface Look {
  readonly at: number
  readonly walEnd: Lsn
}

/** How fast WAL grows of late, from looks at its end. Undefined before the second look. */
export class WalPace {
  #last: Look | undefined
  /** From where the next rate is taken. */
  #base: Look | undefined
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
    const now: Look = { at, walEnd }
    const last = this.#last
    this.#last = now
    this.#base ??= now
    if (last === undefined) return
    const elapsed = Math.max(1, at - last.at)
    const faded = (value: number | undefined, half: number) => (value ?? 0) * 0.5 ** (elapsed / half)
    this.#growth = Math.max(grown(last, now), faded(this.#growth, halfLife.growth))
    const fadedRate = faded(this.#rate, halfLife.rate)
    const over = at - this.#base.at
    this.#rate = Math.max(fadedRate, over >= span ? grown(this.#base, now) / over : 0)
    if (over >= span) this.#base = now
  }
}

/** A WAL end that went back, as after a fail-over, is no growth. */
function grown(from: Look, to: Look): number {
  return Math.max(0, Number(to.walEnd - from.walEnd))
}
