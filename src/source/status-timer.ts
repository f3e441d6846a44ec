import { StatusPacing } from './status-pacing.ts'

/** Sends status updates when they are due, also while the stream is not read: the server must not give up on us. */
export class StatusTimer {
  readonly #pacing: StatusPacing
  readonly #send: () => void
  #timer: NodeJS.Timeout | undefined
  #wakeAt = 0
  #running = false

  /** `interval` in milliseconds; `send` must call sent(). */
  constructor(interval: number, send: () => void) {
    this.#pacing = new StatusPacing(interval, performance.now())
    this.#send = send
  }

  start(): void {
    this.#running = true
    this.#arm()
  }

  stop(): void {
    this.#running = false
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  acknowledged(): void {
    this.#pacing.acknowledged()
    this.#arm()
  }

  asked(): void {
    this.#pacing.asked()
    this.#arm()
  }

  sent(): void {
    this.#pacing.sent(performance.now())
    this.#arm()
  }

  #arm(): void {
    if (!this.#running) return
    const { dueAt } = this.#pacing
    if (this.#timer !== undefined && this.#wakeAt <= dueAt) return
    clearTimeout(this.#timer)
    this.#wakeAt = dueAt
    this.#timer = setTimeout(() => this.#onTimer(), Math.max(0, dueAt - performance.now()))
  }

  /** The timer may be early when the update that it was for went out already: then it is only set anew. */
  #onTimer(): void {
    this.#timer = undefined
    if (performance.now() + 1 >= this.#pacing.dueAt) this.#send()
    else this.#arm()
  }
}
