import { BridgeError, toBridgeError } from './base/errors.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { Positions } from './checkpoint/positions.ts'
import { decideStore } from './checkpoint/store-policy.ts'
import type { Routing } from './routing/routing.ts'
import type { ConfirmWindow } from './sink/confirm-window.ts'
import type { Sink } from './sink/sink.ts'
import type { Source, SourceEvent } from './source/source.ts'

/** Durations in milliseconds. */
export interface BridgeTimings {
  /** From a settled row to its stored LSN, about. */
  readonly storeInterval: number
  readonly historyInterval: number
  /** Between two looks at the publication. */
  readonly watchInterval: number
  /** How long the source may stay unread before its connection is let go. */
  readonly backpressureTimeout: number
  /** How long a stop waits for the window to settle. */
  readonly drainTimeout: number
}

export interface BridgeParts {
  readonly source: Source
  readonly routing: Routing
  readonly window: ConfirmWindow
  readonly sink: Sink
  readonly checkpoint: Checkpoint
  readonly timings: BridgeTimings
  readonly onStreaming: () => void
}

/**
 * One session: resume, read, route, publish, settle, store, acknowledge.
 *
 *   source ──events──► routing ──► window ──flush──► sink ──► RabbitMQ
 *     ▲                              │ settled         │ answers
 *     └──acknowledge── checkpoint ◄──┘◄───progress─────┘
 *
 * Window and sink outlive it: what is in flight goes on while the next session is made. Whatever fails ends the session
 * through #end, once; the supervisor decides what comes next.
 */
export class Bridge {
  readonly #parts: BridgeParts
  readonly #over: Promise<BridgeError | undefined>
  #end!: (error?: BridgeError) => void
  #ended = false
  #positions: Positions | undefined
  #pausedSince: number | undefined
  #storing: Promise<void> | undefined
  #storedRows = 0
  #lastStoreAt = 0
  #lastHistoryAt = 0
  #lastWatchAt = 0
  #walEndAfterStore = 0n
  #wake: () => void = () => {}

  constructor(parts: BridgeParts) {
    this.#parts = parts
    this.#over = new Promise((resolve) => {
      this.#end = (error) => {
        this.#ended = true
        resolve(error)
        this.#wake()
      }
    })
  }

  /** The five positions of this session; undefined before it has resumed. */
  get positions(): Positions | undefined {
    return this.#positions
  }

  /** Runs until stop() (true: all that was received is settled and stored) or rejects with what ended the session. */
  async run(): Promise<boolean> {
    const { source, window, sink, checkpoint, timings } = this.#parts
    let timer: NodeJS.Timeout | undefined
    try {
      const resume = await checkpoint.resume(window.received, (error) => this.#end(error))
      if (!resume.remembered) window.reset(resume.start)
      this.#positions = new Positions(window.settled, resume.stored, resume.acknowledged)
      await source.start(resume.start, {
        onEvents: (events) => this.#onEvents(events),
        onEnd: (error) => this.#end(toBridgeError(error ?? new BridgeError('SOURCE_CONNECTION_LOST', 'stream ended'))),
      })
      await checkpoint.claim()
      await checkpoint.recordHistory('start')
      this.#storedRows = window.settledRows
      this.#lastStoreAt = this.#lastHistoryAt = this.#lastWatchAt = performance.now()
      timer = setInterval(() => this.#tick(), Math.max(10, timings.storeInterval / 4))
      this.#parts.onStreaming()
      source.resume()
      sink.flush()
      const error = await this.#over
      if (error !== undefined) throw error
      return await this.#drain()
    } finally {
      this.#ended = true
      clearInterval(timer)
      await source.stop()
      await this.#storing
      await checkpoint.close()
    }
  }

  /** Ends run() after a bounded drain. */
  stop(): void {
    this.#end()
  }

  /** The sink settled something: there may be room to read on. */
  onProgress(): void {
    if (this.#pausedSince !== undefined && !this.#ended && this.#parts.window.hasRoom) {
      this.#pausedSince = undefined
      this.#parts.source.resume()
    }
    this.#wake()
  }

  #onEvents(events: readonly SourceEvent[]): void {
    if (this.#ended) return
    const { routing, window, sink, source } = this.#parts
    try {
      for (const event of events) {
        if (event.kind === 'row') window.pushRow(routing.route(event))
        else if (event.kind === 'commit') window.pushCommit(event.commitLsn, event.endLsn)
        else window.pushIdle(event.walEnd)
      }
    } catch (error) {
      this.#end(toBridgeError(error))
      return
    }
    sink.flush()
    if (window.isFull && this.#pausedSince === undefined) {
      this.#pausedSince = performance.now()
      source.pause()
    }
  }

  #tick(): void {
    const { checkpoint, timings, sink } = this.#parts
    const now = performance.now()
    if (this.#pausedSince !== undefined && now - this.#pausedSince > timings.backpressureTimeout) {
      const waited = Math.round((now - this.#pausedSince) / 1000)
      this.#end(new BridgeError('SOURCE_BACKPRESSURE', `the window has been full for ${waited} s (sink ${sink.state})`))
      return
    }
    if (now - this.#lastWatchAt > timings.watchInterval) {
      this.#lastWatchAt = now
      checkpoint.watch().catch((error) => this.#end(toBridgeError(error)))
    }
    if (this.#storeIsDue(now)) this.#store()
  }

  #storeIsDue(now: number): boolean {
    const { window, timings } = this.#parts
    const decision = decideStore({
      now,
      lastStoreAt: this.#lastStoreAt,
      interval: timings.storeInterval,
      settled: window.settled,
      stored: this.#positions!.stored,
      rowsSettled: window.settledRows - this.#storedRows,
      walEndAfterStore: this.#walEndAfterStore,
    })
    return decision.store
  }

  /** One store at a time; a failure ends the session, and nothing is acknowledged. */
  #store(): void {
    if (this.#storing !== undefined) return
    this.#storing = this.#storeSettled()
      .catch((error) => this.#end(toBridgeError(error)))
      .finally(() => {
        this.#storing = undefined
      })
  }

  /** Settled → stored → acknowledged, in this order and nowhere else. */
  async #storeSettled(): Promise<void> {
    const { window, source, checkpoint, timings } = this.#parts
    const positions = this.#positions!
    const settled = window.settled
    const settledRows = window.settledRows
    this.notePositions()
    positions.moveSettled(settled)
    this.#walEndAfterStore = await checkpoint.store(settled, settledRows - this.#storedRows)
    positions.moveStored(settled)
    source.acknowledge(positions.moveAcknowledged(settled.lsn))
    this.#lastStoreAt = performance.now()
    const rows = settledRows - this.#storedRows
    this.#storedRows = settledRows
    if (rows > 0 && this.#lastStoreAt - this.#lastHistoryAt >= timings.historyInterval) {
      this.#lastHistoryAt = this.#lastStoreAt
      await checkpoint.recordHistory('interval')
    }
  }

  /** Brings received and published up to date; they are for display, so not on the hot path. */
  notePositions(): void {
    const positions = this.#positions
    if (positions === undefined) return
    const { receivedLsn, publishedLsn } = this.#parts.window
    positions.moveReceived(receivedLsn)
    if (publishedLsn > positions.published) positions.movePublished(publishedLsn)
  }

  /** Reads no more, waits for what is in the window, stores. */
  async #drain(): Promise<boolean> {
    const { source, window, sink, checkpoint, timings } = this.#parts
    source.pause()
    const end = performance.now() + timings.drainTimeout
    const deadline = setTimeout(() => this.#wake(), timings.drainTimeout)
    const hopeless = () => sink.state === 'stuck' || sink.state === 'failing'
    while (!window.isEmpty && performance.now() < end && !hopeless()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    clearTimeout(deadline)
    await this.#storing
    await this.#storeSettled()
    await checkpoint.recordHistory('stop')
    return window.isEmpty
  }
}
