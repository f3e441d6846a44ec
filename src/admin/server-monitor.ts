/** Looks at the server now and then, for status and metrics only; no decision hangs on it. */
export class ServerMonitor<Sight> {
  readonly #look: () => Promise<Sight | undefined>
  readonly #interval: number
  #timer: NodeJS.Timeout | undefined
  #looking = false
  #sight: Sight | undefined

  /** `look` gives undefined while there is no session; `interval` in milliseconds. */
  constructor(look: () => Promise<Sight | undefined>, interval = 2000) {
    this.#look = look
    this.#interval = interval
  }

  /** The last look; undefined while nothing is known. */
  get sight(): Sight | undefined {
    return this.#sight
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), this.#interval)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Looks now, unless it is looking already. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      this.#sight = await this.#look()
    } catch {
      // The session whose connection failed reports it; what was seen is no longer true.
      this.#sight = undefined
    } finally {
      this.#looking = false
    }
  }
}
