import { type BackoffPolicy, backoffDelay } from '../base/backoff.ts'
import type { BridgeError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { formatLsn } from '../base/lsn.ts'
import { pauseAfterPass } from './pacing.ts'
import type { PassReport } from './retention.ts'

/** After a pass that failed or met locks; milliseconds. */
const backoff: BackoffPolicy = { initialDelay: 2000, maxDelay: 600_000 }
/** From the first session on, milliseconds: a start has better things to do. */
const firstPause = 5000

export interface RetentionLoopOptions {
  /** outbox.retention, milliseconds. */
  readonly age: number
  /** True while this process holds the slot: a stand-by deletes nothing. */
  readonly isOwner: () => boolean
  /** One pass on a connection of its own; ends soon after the signal. Rejects with a BridgeError. */
  readonly runPass: (signal: AbortSignal) => Promise<PassReport>
  readonly log: Logger
}

/** What is known of it, for status and metrics. LSNs are text, times ISO 8601. */
export interface RetentionSight {
  /** When the last pass ended. */
  readonly lastPassAt: string | null
  /** Since the process started. */
  readonly rowsDeleted: number
  readonly partitionsDropped: number
  /** Every row that this process deleted had committed below it. */
  readonly floorLsn: string | null
  /** Why the last pass failed, or could not do all of it; null when it could. */
  readonly failing: string | null
  /** What the rows that are old enough wait for; null when nothing is in their way. */
  readonly waiting: string | null
}

/** Deletes old rows in the background, for as long as this process is the one that streams. The stream knows nothing of it. */
export class RetentionLoop {
  readonly #options: RetentionLoopOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #failures = 0
  #said = ''
  #sight: RetentionSight = {
    lastPassAt: null,
    rowsDeleted: 0,
    partitionsDropped: 0,
    floorLsn: null,
    failing: null,
    waiting: null,
  }

  constructor(options: RetentionLoopOptions) {
    this.#options = options
  }

  get sight(): RetentionSight {
    return this.#sight
  }

  start(): void {
    this.#schedule(firstPause)
  }

  /** Resolves when nothing of it runs any more. Never rejects. */
  async stop(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#running
  }

  #schedule(delay: number): void {
    if (this.#stop.signal.aborted) return
    this.#timer = setTimeout(() => {
      this.#running = this.#pass()
    }, delay)
    this.#timer.unref()
  }

  async #pass(): Promise<void> {
    const { isOwner, runPass, age } = this.#options
    if (!isOwner()) return this.#schedule(firstPause)
    const started = performance.now()
    try {
      const report = await runPass(this.#stop.signal)
      this.#note(report)
      const failed = report.outcome === 'impossible' || report.outcome === 'incomplete'
      this.#failures = failed ? this.#failures + 1 : 0
      const usual = pauseAfterPass(age, performance.now() - started, report.outcome === 'waiting')
      this.#schedule(failed ? backoffDelay(backoff, this.#failures) : usual)
    } catch (error) {
      this.#failures++
      // At a stop the connection is cut under the statement, which is no news.
      if (!this.#stop.signal.aborted) this.#noteFailure(error as BridgeError)
      this.#schedule(backoffDelay(backoff, this.#failures))
    }
  }

  #note({ outcome, reason, rows, partitions, floor, notices }: PassReport): void {
    const { log } = this.#options
    const before = this.#sight
    this.#sight = {
      lastPassAt: new Date().toISOString(),
      rowsDeleted: before.rowsDeleted + rows,
      partitionsDropped: before.partitionsDropped + partitions.length,
      floorLsn: floor === null ? before.floorLsn : formatLsn(floor),
      failing: outcome === 'impossible' || outcome === 'incomplete' ? reason : null,
      waiting: outcome === 'waiting' ? reason : null,
    }
    if (floor !== null) {
      const went = { rows, partitions, floor: formatLsn(floor) }
      log.info(went, 'outbox retention: a replay from the table reaches back to the floor')
    }
    // Once: what it says changes with each pass. A start waits for its first snapshot, so it is no warning.
    if (outcome === 'waiting' && before.waiting === null) log.info(`outbox retention waits: ${reason}`)
    const inTheWay =
      outcome === 'impossible' || outcome === 'incomplete' ? [`outbox retention ${outcome}: ${reason}`] : []
    this.#say([...inTheWay, ...notices])
  }

  #noteFailure(error: BridgeError): void {
    this.#sight = { ...this.#sight, lastPassAt: new Date().toISOString(), failing: error.message }
    if (this.#said === error.code) return
    this.#said = error.code
    this.#options.log.warn({ err: error }, 'outbox retention failed and is tried again; the stream goes on')
  }

  /** Once, until it is something else. */
  #say(texts: readonly string[]): void {
    const said = texts.join('\n')
    if (said !== '' && said !== this.#said) for (const text of texts) this.#options.log.warn(text)
    this.#said = said
  }
}
