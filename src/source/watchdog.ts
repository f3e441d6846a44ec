import { decideLiveness, overslept } from './liveness.ts'

export interface WatchdogOptions {
  /** Milliseconds; 0 turns the watchdog off. */
  readonly timeout: number
  /** A number that grows with every byte that came in. */
  readonly bytesRead: () => number
  readonly probe: () => void
  /** Asks over another connection; rejects when it cannot tell. */
  readonly isWalsenderAlive: () => Promise<boolean>
  /** The connection is dead; called once. `silence` in milliseconds. */
  readonly onDead: (silence: number) => void
}

type WalsenderState = 'asking' | 'alive' | 'gone' | 'unknown'

/** Runs the liveness decision on a timer. */
export class Watchdog {
  readonly #options: WatchdogOptions
  readonly #tickInterval: number
  #timer: NodeJS.Timeout | undefined
  #paused = true
  #quietSince = performance.now()
  #lastTickAt = performance.now()
  #lastBytes = 0
  #probedAt: number | undefined
  #walsender: { state: WalsenderState; at: number } | undefined

  constructor(options: WatchdogOptions) {
    this.#options = options
    this.#tickInterval = Math.min(1000, Math.max(50, options.timeout / 10))
  }

  start(): void {
    if (this.#options.timeout === 0) return
    this.#lastTickAt = performance.now()
    this.#timer = setInterval(() => this.#tick(), this.#tickInterval)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  pause(): void {
    this.#paused = true
  }

  /** Silence counts anew: while nothing was read, nothing could be heard. */
  resume(): void {
    this.#paused = false
    this.#quietSince = performance.now()
  }

  #tick(): void {
    const now = performance.now()
    const bytes = this.#options.bytesRead()
    if (bytes !== this.#lastBytes || overslept(this.#lastTickAt, now, this.#tickInterval)) this.#quietSince = now
    this.#lastBytes = bytes
    this.#lastTickAt = now
    const decision = decideLiveness({
      now,
      timeout: this.#options.timeout,
      quietSince: this.#quietSince,
      paused: this.#paused,
      probedAt: this.#probedAt,
      walsender: this.#walsender,
    })
    if (decision === 'probe') {
      this.#probedAt = now
      this.#options.probe()
    } else if (decision === 'check-walsender') {
      this.#checkWalsender(now)
    } else if (decision === 'dead') {
      this.stop()
      this.#options.onDead(now - this.#quietSince)
    }
  }

  #checkWalsender(now: number): void {
    const asked: { state: WalsenderState; at: number } = { state: 'asking', at: now }
    this.#walsender = asked
    const answer = (state: WalsenderState) => {
      asked.state = state
      asked.at = performance.now()
    }
    this.#options.isWalsenderAlive().then(
      (alive) => answer(alive ? 'alive' : 'gone'),
      // Why it cannot tell is the other connection's business, which reports it; for us the bound runs on.
      () => answer('unknown'),
    )
  }
}
