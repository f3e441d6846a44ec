/**
 * The clock by which confirms become overdue, in milliseconds. It stands still while the broker blocks or is still
 * taking in what was written, and it does not count the time in which this process itself stood still: in neither is
 * the broker being silent. No timer of its own: the sink ticks it.
 */
export class ConfirmClock {
  readonly tickInterval: number // milliseconds
  readonly #timeout: number
  #counted = 0
  #countedAt: number
  #tickedAt: number
  #paused = false

  constructor(timeout: number, now: number) {
    this.#timeout = timeout
    this.tickInterval = Math.min(1000, Math.max(10, timeout / 10))
    this.#countedAt = this.#tickedAt = now
  }

  /** The time to note on a publish at `now`. Never goes back. */
  at(now: number): number {
    if (this.#paused) return this.#counted
    return this.#counted + Math.max(0, Math.min(now - this.#countedAt, 2 * this.tickInterval))
  }

  /** Takes effect at once: what has passed until now counts by the former state. */
  pause(paused: boolean, now: number): void {
    this.#counted = this.at(now)
    this.#countedAt = now
    this.#paused = paused
  }

  /**
   * Whether the oldest unconfirmed publish, noted at `sentAt`, is overdue; to be called every `tickInterval`. After a
   * stall of this process the answer is no: confirms that came meanwhile are still unread.
   */
  tick(now: number, sentAt: number | undefined, paused: boolean): boolean {
    const stalled = now - this.#tickedAt > 2 * this.tickInterval
    this.#tickedAt = now
    this.pause(paused, now)
    return !stalled && !paused && sentAt !== undefined && this.#counted - sentAt > this.#timeout
  }
}
