/** After a new stored LSN; milliseconds between updates that are sent because of one. */
const acknowledgeSpacing = 100
/** PostgreSQL that shuts down asks for a reply with each of thousands of keep-alives a second. */
const replySpacing = 20

/** When the next status update is due. Times are milliseconds of a monotonic clock. */
export class StatusPacing {
  readonly #interval: number
  #lastSent: number
  #hasNews = false
  #isAsked = false

  constructor(interval: number, now: number) {
    this.#interval = interval
    this.#lastSent = now
  }

  /** A new stored LSN waits to be told. */
  acknowledged(): void {
    this.#hasNews = true
  }

  /** The server asked for a reply. */
  asked(): void {
    this.#isAsked = true
  }

  sent(now: number): void {
    this.#lastSent = now
    this.#hasNews = false
    this.#isAsked = false
  }

  get dueAt(): number {
    if (this.#isAsked) return this.#lastSent + replySpacing
    if (this.#hasNews) return this.#lastSent + acknowledgeSpacing
    return this.#lastSent + this.#interval
  }
}
