import type { SlotSight } from './bridge-status.ts'

/** Looks at the slot now and then, for status and metrics only; no decision hangs on it. */
export class SlotMonitor {
  readonly #look: () => Promise<SlotSight | undefined>
  readonly #interval: number
  #timer: NodeJS.Timeout | undefined
  #looking = false
  #sight: SlotSight | undefined

  /** `look` gives undefined while there is no session; `interval` in milliseconds. */
  constructor(look: () => Promise<SlotSight | undefined>, interval = 2000) {
    this.#look = look
    this.#interval = interval
  }

  /** The last look; undefined while nothing is known. */
  get sight(): SlotSight | undefined {
    return this.#sight
  }

  start(): void {
    this.#timer = setInterval(() => void this.#tick(), this.#interval)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #tick(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      this.#sight = await this.#look()
    } catch {
      // The session whose connection failed reports it; what is known of the slot is no longer true.
      this.#sight = undefined
    } finally {
      this.#looking = false
    }
  }
}
