import { backoffDelay } from '../base/backoff.ts'
import { BridgeError, type ErrorCode, toBridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import type { RoutedEvent, Routing } from '../routing/routing.ts'
import type { Source, SourceEvent, SourceRow, StartPosition } from '../source/source.ts'
import { isPast, judgeRow, type ReplayRange } from './range.ts'
import type { RateLimit } from './rate-limit.ts'
import type { ReplayOutput } from './replay-output.ts'

/** Milliseconds. */
const storeInterval = 1000
const tickInterval = 100
/** How long the socket may stay unread: an unread one can stall PostgreSQL's checkpoints for minutes. */
const backpressureTimeout = 30_000
/** Of the slot that was to be copied: another may do, and if none does, that is said when it is looked for. */
const goneCodes: readonly ErrorCode[] = ['REPLAY_OUT_OF_REACH', 'SLOT_MISSING', 'SLOT_INVALIDATED']
const retry = { initialDelay: 200, maxDelay: 5000 }
/**
 * How long a store may take before the stream is let go: a server that shuts down refuses the store, and waits until the
 * stream has read all its WAL, which a replay may be far from.
 */
const storeTimeout = 5000
/** How long the servers may be away, or take nothing, before the replay ends; it can be resumed. */
const patience_default = 60_000

/** What came in and passed the filter so far. */
export interface ReplayCounts {
  readonly read: number
  readonly matched: number
}

export interface ReplayParts {
  readonly range: ReplayRange
  /**
   * A connection that streams the range from a position on; asked again after each loss. `held`: an earlier one, which
   * still stands, and what it holds is sure to reach back that far. Rejects with a BridgeError.
   */
  readonly newSource: (start: StartPosition, held: Source | undefined) => Promise<Source>
  /** The source may stay unread for as long as it takes: no walsender is behind it. */
  readonly mayRest?: boolean
  readonly routing: Routing
  readonly output: ReplayOutput
  readonly admits: (event: RoutedEvent) => boolean
  readonly redirect: (event: RoutedEvent) => RoutedEvent
  readonly rate: RateLimit
  /** Makes durable how far it has come: about once a second, and at the end. Rejects with a BridgeError. */
  readonly store: (settled: StartPosition, counts: ReplayCounts) => Promise<void>
  /** Called at each tick, for the progress bar. */
  readonly onTick?: () => void
  /** Called for each row that was pushed. */
  readonly onPushed?: (row: SourceRow) => void
  /** Milliseconds; default one minute. */
  readonly patience?: number
  /** What is already behind a replay that is resumed. */
  readonly counts?: ReplayCounts
}

/**
 * One replay, beside the live stream and apart from it: a source of its own, read through the same routing, window and
 * sink code, up to the end of the range. A lost connection to PostgreSQL is made again where reading stopped, a lost one
 * to the broker is the sink's to mend.
 *
 *   source ──► range ──► routing ──► filter ──► rate ──► window ──► sink
 *                                                          │ settled ──► stored in wal2rabbit.replay
 */
export class ReplayRun {
  readonly #parts: ReplayParts
  #read: number
  #matched: number
  #source: Source | undefined
  /** Let go of, but for what it holds: until the next one stands, nothing else may reach back to where that begins. */
  #held: Source | undefined
  /** Parsed and not yet taken: what one socket chunk held, while there is no room or it is not time. */
  #pending: readonly SourceEvent[] = []
  #at = 0
  #paused = false
  #pausedSince: number | undefined
  #finished = false
  #stopAsked = false
  #failure: BridgeError | undefined
  #refusedRow = false
  #hopeless = false
  #storeFailed = false
  #streamEnded: BridgeError | undefined
  #timer: NodeJS.Timeout | undefined
  #rateTimer: NodeJS.Timeout | undefined
  #storing: Promise<void> | undefined
  #lastStoreAt = performance.now()
  #progressAt = performance.now()
  #settledRowsSeen = 0
  #wake: () => void = () => {}

  constructor(parts: ReplayParts) {
    this.#parts = parts
    this.#read = parts.counts?.read ?? 0
    this.#matched = parts.counts?.matched ?? 0
  }

  get counts(): ReplayCounts {
    return { read: this.#read, matched: this.#matched }
  }

  /** Resolves when the end of the range is settled and stored, or after stop(). Rejects with what ended it; then it can be resumed. */
  async run(): Promise<'done' | 'stopped'> {
    this.#timer = setInterval(() => this.#tick(), tickInterval)
    try {
      await this.#stream()
      // A server that shuts down waits for whoever is connected.
      await this.#letGo()
      await this.#drain()
      if (this.#failure !== undefined) throw this.#failure
      return this.#stopAsked && !this.#finished ? 'stopped' : 'done'
    } finally {
      clearInterval(this.#timer)
      clearTimeout(this.#rateTimer)
      await this.#source?.stop()
      await this.#letGo()
      await this.#storing
    }
  }

  /** Reads no more; run() resolves once what is on its way is settled. Idempotent. */
  stop(): void {
    this.#stopAsked = true
    this.#wake()
  }

  /** The sink settled something. */
  onProgress(): void {
    this.#pump()
    this.#wake()
  }

  get #over(): boolean {
    return this.#finished || this.#stopAsked || this.#failure !== undefined
  }

  /** Sessions until the range is read to its end. */
  async #stream(): Promise<void> {
    for (let attempt = 1; !this.#over; attempt++) {
      const before = this.#read
      const error = await this.#session()
      if (this.#over || error === undefined) return
      if (this.#read > before) attempt = 1
      if (!isPassing(error) || performance.now() - this.#progressAt > this.#patience) {
        this.#failure = error
        return
      }
      // One that was left unread has waited long enough, and is held on to meanwhile.
      if (error.code !== 'SOURCE_BACKPRESSURE') await this.#sleep(backoffDelay(retry, attempt))
      if (this.#isStoreOverdue) await this.#letGo()
      while (!this.#over && this.#isStoreOverdue) await this.#next()
    }
  }

  /** One connection; resolves with what ended it. What is parsed and not taken is read again by the next one. */
  async #session(): Promise<BridgeError | undefined> {
    const { newSource, output } = this.#parts
    this.#pending = []
    this.#at = 0
    this.#paused = false
    this.#pausedSince = undefined
    this.#streamEnded = undefined
    let moved = false
    try {
      const start = output.received
      const source = await newSource(start, this.#held)
      this.#source = source
      // A slot that reached back far enough when it was looked at may have moved on, or be gone, before it was copied.
      moved = true
      await source.start(start, {
        onEvents: (events) => {
          if (source === this.#source) this.#onEvents(events)
        },
        onEnd: (error) => {
          if (source !== this.#source) return
          this.#streamEnded = toBridgeError(error ?? new BridgeError('SOURCE_CONNECTION_LOST', 'stream ended'))
          this.#wake()
        },
      })
      moved = false
      await this.#letGo()
      failPoint('replay-started')
      // What was decided while there was no socket to pause does not count.
      this.#paused = false
      this.#pausedSince = undefined
      source.resume()
      this.#pump()
      while (!this.#over && this.#streamEnded === undefined) await this.#next()
      return this.#streamEnded
    } catch (thrown) {
      const error = toBridgeError(thrown)
      // What is short for a moment, a slot or a connection, is no reason to give up what nothing else may hold.
      if (error.code !== 'SOURCE_TOO_MANY_CONNECTIONS') await this.#letGo()
      if (!moved || !goneCodes.includes(error.code)) return error
      return new BridgeError('SOURCE_CONNECTION_LOST', `${error.message}; looking for another slot`, { cause: error })
    } finally {
      await this.#release()
    }
  }

  async #letGo(): Promise<void> {
    const held = this.#held
    this.#held = undefined
    await held?.stop()
  }

  /** One that was only left unread is held on to; any other ends. */
  async #release(): Promise<void> {
    const source = this.#source
    this.#source = undefined
    if (!this.#over && this.#streamEnded?.code === 'SOURCE_BACKPRESSURE') this.#held = source
    else await source?.stop()
  }

  #onEvents(events: readonly SourceEvent[]): void {
    this.#pending = this.#at >= this.#pending.length ? events : [...this.#pending.slice(this.#at), ...events]
    this.#at = 0
    this.#pump()
  }

  /** Takes what may be taken now; pauses the source while something is left. */
  #pump(): void {
    const { output } = this.#parts
    if (this.#paused && this.#rateTimer === undefined && !output.hasRoom) return
    let wait = 0
    try {
      while (this.#at < this.#pending.length && !this.#over && !output.isFull) {
        wait = this.#take(this.#pending[this.#at]!)
        if (wait > 0) break
        this.#at++
      }
      output.flush()
    } catch (error) {
      this.#failure = toBridgeError(error)
      this.#refusedRow = true
      // What came before the row that nobody can read is delivered and stored first.
      output.flush()
      this.#wake()
      return
    }
    if (this.#finished) this.#wake()
    clearTimeout(this.#rateTimer)
    this.#rateTimer = wait > 0 ? setTimeout(() => this.#onDue(), Math.max(1, wait)) : undefined
    this.#setPaused(this.#at < this.#pending.length || output.isFull)
  }

  #onDue(): void {
    this.#pump()
  }

  /** Milliseconds until this event may be taken; 0 when it was. */
  #take(event: SourceEvent): number {
    const { range, output } = this.#parts
    if (event.kind === 'row') return this.#takeRow(event)
    if (event.kind === 'commit') output.commit(event.commitLsn, event.endLsn)
    else output.idle(event.walEnd)
    this.#progressAt = performance.now()
    if (isPast(range, event)) this.#finished = true
    return 0
  }

  #takeRow(row: SourceRow): number {
    const { range, routing, admits, redirect, output, rate, onPushed } = this.#parts
    const verdict = judgeRow(range, row)
    if (verdict === 'end') {
      this.#finished = true
      return 0
    }
    const event = verdict === 'take' ? routing.route(row) : undefined
    const matches = event !== undefined && admits(event)
    if (matches) {
      const wait = rate.take(performance.now())
      if (wait > 0) {
        // It is the rate that holds back here, and no server.
        this.#progressAt = performance.now()
        return wait
      }
    }
    this.#read++
    this.#progressAt = performance.now()
    if (!matches) return 0
    this.#matched++
    output.push(redirect(event))
    onPushed?.(row)
    failPoint('replay-row')
    return 0
  }

  #setPaused(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    this.#pausedSince = paused ? performance.now() : undefined
    if (paused) this.#source?.pause()
    else this.#source?.resume()
  }

  #tick(): void {
    const now = performance.now()
    const { output, onTick, mayRest = false } = this.#parts
    if (output.settledRows > this.#settledRowsSeen) {
      this.#settledRowsSeen = output.settledRows
      this.#progressAt = now
    }
    this.#giveUpIfHopeless(now)
    if (!mayRest && this.#pausedSince !== undefined && now - this.#pausedSince > backpressureTimeout) {
      const waited = Math.round((now - this.#pausedSince) / 1000)
      this.#streamEnded ??= new BridgeError('SOURCE_BACKPRESSURE', `the replay has not read on for ${waited} s`)
      this.#wake()
    }
    if (now - this.#lastStoreAt > storeInterval) this.#store()
    if (this.#isStoreOverdue) {
      const text = `the progress of the replay could not be stored for ${storeTimeout / 1000} s`
      this.#streamEnded ??= new BridgeError('SOURCE_SHUTTING_DOWN', text)
      this.#wake()
    }
    onTick?.()
  }

  /** The broker takes nothing: for a reason that somebody has to mend, or for too long. */
  #giveUpIfHopeless(now: number): void {
    const { trouble, isEmpty } = this.#parts.output
    if (trouble === undefined) return
    if (trouble.action === 'retry' && (isEmpty || now - this.#progressAt <= this.#patience)) return
    this.#failure ??= trouble
    this.#hopeless = true
    this.#wake()
  }

  /** One at a time; a failure ends the replay. */
  #store(): void {
    if (this.#storing !== undefined) return
    this.#lastStoreAt = performance.now()
    this.#storing = this.#storeSettled()
      .catch((error) => {
        this.#storeFailed = true
        this.#failure ??= toBridgeError(error)
        this.#wake()
      })
      .finally(() => {
        this.#storing = undefined
        this.#wake()
      })
  }

  get #isStoreOverdue(): boolean {
    return this.#storing !== undefined && performance.now() - this.#lastStoreAt > storeTimeout
  }

  /** The temporary slot lets go of WAL below what is stored; no other slot is told anything. */
  async #storeSettled(): Promise<void> {
    const { output, store } = this.#parts
    const { settled } = output
    const source = this.#source
    await store(settled, this.counts)
    failPoint('replay-stored')
    if (source === this.#source && this.#streamEnded === undefined) source?.acknowledge(settled.lsn)
  }

  /** Waits for what is on its way, also before a failure is reported, and stores. */
  async #drain(): Promise<void> {
    const { output } = this.#parts
    if (this.#failure !== undefined && !this.#refusedRow) {
      await this.#storing
      // The first error counts; the last stored position serves as well. What could not be stored just now is not tried again.
      if (!this.#storeFailed) await this.#storeSettled().catch(() => undefined)
      return
    }
    this.#progressAt = performance.now()
    const failed = this.#failure
    while (!output.isEmpty && this.#failure === failed && !this.#hopeless) await this.#next()
    await this.#storing
    await this.#storeSettled()
  }

  get #patience(): number {
    return this.#parts.patience ?? patience_default
  }

  /** Resolves when something happened. */
  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  async #sleep(delay: number): Promise<void> {
    let due = false
    const timer = setTimeout(() => {
      due = true
      this.#wake()
    }, delay)
    while (!due && !this.#over) await this.#next()
    clearTimeout(timer)
  }
}

/** Ends by itself, most likely: tried again while the patience lasts. */
function isPassing(error: BridgeError): boolean {
  return error.action === 'retry' || error.action === 'standby'
}
