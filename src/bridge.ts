import { BridgeError, toBridgeError } from './base/errors.ts'
import { failPoint } from './base/fail-point.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { Positions } from './checkpoint/positions.ts'
import { decideStore } from './checkpoint/store-policy.ts'
import { Ownership } from './ownership.ts'
import type { Routing } from './routing/routing.ts'
import type { ConfirmWindow } from './sink/confirm-window.ts'
import { leaseTimeOf, type PublishLease } from './sink/publish-lease.ts'
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
  /** Held by the sink; this session's from its claim to its end. */
  readonly lease: PublishLease
  /** Called once the slot and the checkpoint are ours, before anything is published. */
  readonly onClaimed: () => Promise<void>
  /**
   * Called when the session ends, claimed or not, before the slot is let go: what goes on beside it must not outlive it.
   * The reason is undefined after a stop.
   */
  readonly onReleased: (reason: BridgeError | undefined) => void
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
  readonly #ownership: Ownership
  readonly #over: Promise<BridgeError | undefined>
  #end!: (error?: BridgeError) => void
  #ended = false
  /** Why nothing can be stored any more in this session: then there is nothing to drain for. */
  #unstorable: BridgeError | undefined
  /** Why the stream cannot be read on: the window holds what came before it, and nothing else. */
  #refusedRow: BridgeError | undefined
  #timer: NodeJS.Timeout | undefined
  #positions: Positions | undefined
  #pausedSince: number | undefined
  #storing: Promise<void> | undefined
  #lastStoreAt = 0
  #lastHistoryAt = 0
  #lastWatchAt = 0
  #walEndAfterStore = 0n
  #wake: () => void = () => {}

  constructor(parts: BridgeParts) {
    this.#parts = parts
    const { lease, checkpoint, sink } = parts
    this.#ownership = new Ownership({
      lease,
      checkpoint,
      onGranted: () => sink.resume(),
      onLost: (error) => this.#cannotStore(error),
    })
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

  /** Runs until stop(), or rejects with what ended the session. */
  async run(): Promise<void> {
    const { source, window, checkpoint, onClaimed, onReleased, timings } = this.#parts
    let reason: BridgeError | undefined
    try {
      const resume = await checkpoint.resume(window.received, (error) => this.#cannotStore(error))
      if (!resume.remembered) window.reset(resume.start)
      this.#positions = new Positions(window.settled, resume.stored, resume.acknowledged)
      await source.start(resume.start, {
        onEvents: (events) => this.#onEvents(events),
        onEnd: (error) => {
          // Also while draining: without the slot, what is unsent may already be another bridge's.
          this.#ownership.end()
          this.#end(toBridgeError(error ?? new BridgeError('SOURCE_CONNECTION_LOST', 'stream ended')))
        },
      })
      const claimedAt = performance.now()
      await checkpoint.claim()
      await onClaimed()
      await checkpoint.recordHistory('start')
      const leaseTime = leaseTimeOf(source.walSenderTimeout)
      this.#ownership.begin(leaseTime, claimedAt)
      this.#lastStoreAt = this.#lastHistoryAt = this.#lastWatchAt = performance.now()
      this.#timer = setInterval(() => this.#tick(), Math.max(10, Math.min(timings.storeInterval / 4, leaseTime / 8)))
      if (!this.#ended) this.#begin()
      const error = await this.#over
      if (error === undefined) await this.#drain()
      else await this.#endWith(error)
    } catch (error) {
      reason = toBridgeError(error)
      throw error
    } finally {
      this.#ended = true
      this.#ownership.end()
      onReleased(reason)
      clearInterval(this.#timer)
      await source.stop()
      await this.#storing
      if (reason !== undefined && leavesRowsOut(reason)) await checkpoint.noteUnstreamed()
      await checkpoint.close()
    }
  }

  /** What came before a row that nobody can read is delivered and stored first, so that no restart repeats it. */
  async #endWith(error: BridgeError): Promise<never> {
    if (error === this.#refusedRow && error.action !== 'bug') {
      await this.#drain().catch((cause) => {
        throw new BridgeError(error.code, error.message, { cause })
      })
    }
    throw error
  }

  /** Ends run() after a bounded drain. */
  stop(): void {
    this.#end()
  }

  /** The sink settled something, so that there may be room to read on, or it stands otherwise than before. */
  onProgress(): void {
    if (this.#pausedSince !== undefined && !this.#ended && this.#parts.window.hasRoom) {
      this.#pausedSince = undefined
      this.#parts.source.resume()
    }
    this.#wake()
  }

  #begin(): void {
    const { source, window, sink, onStreaming } = this.#parts
    onStreaming()
    // A window kept full from the last session makes room first: else it would grow with each session of an unsteady line.
    if (window.isFull) this.#pausedSince = performance.now()
    else source.resume()
    sink.flush()
  }

  #onEvents(events: readonly SourceEvent[]): void {
    if (this.#ended) return
    const { routing, window, sink, source } = this.#parts
    failPoint('begin')
    try {
      for (const event of events) {
        failPoint('row')
        if (event.kind === 'row') window.pushRow(routing.route(event))
        else if (event.kind === 'commit') window.pushCommit(event.commitLsn, event.endLsn)
        else window.pushIdle(event.walEnd)
      }
    } catch (error) {
      this.#refusedRow = toBridgeError(error)
      sink.flush()
      this.#end(this.#refusedRow)
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
    this.#ownership.tick(now)
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
      rowsSettled: window.unstoredRows,
      walEndAfterStore: this.#walEndAfterStore,
    })
    return decision.store
  }

  /** One store at a time; a failure ends the session, and nothing is acknowledged. */
  #store(): void {
    if (this.#storing !== undefined) return
    this.#storing = this.#storeSettled()
      .catch((error) => this.#cannotStore(toBridgeError(error)))
      .finally(() => {
        this.#storing = undefined
      })
  }

  #cannotStore(error: BridgeError): void {
    this.#unstorable ??= error
    this.#end(error)
  }

  /** Settled → stored → acknowledged, in this order and nowhere else. */
  async #storeSettled(): Promise<void> {
    const { window, source, checkpoint, timings } = this.#parts
    const positions = this.#positions!
    const { settled, settledRows, unstoredRows } = window
    this.notePositions()
    positions.moveSettled(settled)
    const storedAt = performance.now()
    failPoint('settled')
    this.#walEndAfterStore = await checkpoint.store(settled, unstoredRows)
    failPoint('stored')
    this.#ownership.prove(storedAt)
    positions.moveStored(settled)
    window.markStored(settledRows)
    source.acknowledge(positions.moveAcknowledged(settled.lsn))
    failPoint('acknowledged')
    this.#lastStoreAt = performance.now()
    if (unstoredRows > 0 && this.#lastStoreAt - this.#lastHistoryAt >= timings.historyInterval) {
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
  async #drain(): Promise<void> {
    const { source, window, sink, checkpoint, timings } = this.#parts
    source.pause()
    // The timer alone says when it is over: it may fire up to a millisecond before its time by performance.now().
    let expired = false
    const deadline = setTimeout(() => {
      expired = true
      this.#wake()
    }, timings.drainTimeout)
    const hopeless = () => (sink.state === 'stuck' || sink.state === 'failing') && window.inFlight === 0
    while (!window.isEmpty && !expired && !hopeless() && this.#unstorable === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    clearTimeout(deadline)
    clearInterval(this.#timer)
    await this.#storing
    if (this.#unstorable !== undefined) throw this.#unstorable
    await this.#storeSettled()
    await checkpoint.recordHistory('stop')
  }
}

/** Rows that are inserted until the publication is mended are none of the stream's. */
function leavesRowsOut({ code }: BridgeError): boolean {
  return code === 'PUBLICATION_MISSING' || code === 'PUBLICATION_INCOMPLETE'
}
