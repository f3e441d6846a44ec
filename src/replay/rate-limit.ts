/** How much may go at once after a pause, in seconds of the rate; at least one event. */
const burst_s = 0.05

/** Lets at most `rate` events a second through, evenly. Times are milliseconds of one clock. */
export class RateLimit {
  readonly #interval: number
  readonly #burst: number
  /** When the next event is due. */
  #next = Number.NEGATIVE_INFINITY

  /** `rate`: events a second; undefined is without a limit. */
  constructor(rate: number | undefined) {
    this.#interval = rate === undefined ? 0 : 1000 / rate
    this.#burst = Math.max(this.#interval, burst_s * 1000)
  }

  /** 0 when one more event may go now, which it then counts as gone; else the milliseconds until one may. */
  take(now: number): number {
    if (this.#interval === 0) return 0
    const due = Math.max(this.#next, now - this.#burst)
    if (due > now) return due - now
    this.#next = due + this.#interval
    return 0
  }
}

/** Reads `500`, `500/s`, `30/m`: events a second; undefined for anything else. */
export function parseRate(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(?:\/(s|m))?$/.exec(text) ?? []
  const rate = Number(number) / (unit === 'm' ? 60 : 1)
  return number !== undefined && rate > 0 && rate <= 1_000_000 ? rate : undefined
}
