import { backoffDelay } from './base/backoff.ts'
import { type BridgeError, toBridgeError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import type { ConfirmWindow } from './sink/confirm-window.ts'
import type { Sink } from './sink/sink.ts'

/** What the bridge can be doing, in the order of a life; the `state` of `/api/status`. */
export const bridgeStates = ['starting', 'standby', 'streaming', 'blocked', 'retrying', 'draining', 'halted'] as const

export type BridgeState = (typeof bridgeStates)[number]

/** One try at streaming, as the supervisor sees it. */
export interface Session {
  /** Resolves once stopped, rejects with what ended it. */
  run(): Promise<void>
  /** Ends run() after a bounded drain. */
  stop(): void
  /** The sink settled something, made room, or changed its state. */
  onProgress(): void
}

export interface SupervisorOptions {
  /** Makes the next session, which calls `onStreaming` once the stream flows. */
  readonly newSession: (onStreaming: () => void) => Promise<Session>
  readonly window: ConfirmWindow
  readonly sink: Sink
  readonly log: Logger
  /** Back-off between sessions, milliseconds. */
  readonly retry?: { readonly initialDelay: number; readonly maxDelay: number }
  /** How often a stand-by looks whether the slot is free, milliseconds. */
  readonly standbyInterval?: number
  /** How often a halt that an operator may mend is looked at again, milliseconds. */
  readonly mendInterval?: number
}

/**
 * What a stop came to: whether all that was received is settled and stored (a stand-by leaves it to the active bridge),
 * and whether an operator must act.
 */
export interface StopReport {
  readonly drained: boolean
  readonly halted: boolean
}

/** Runs sessions for ever: error policy, back-off, stand-by, halt, drain. It never ends for an outage. */
export class Supervisor {
  readonly #options: Required<SupervisorOptions>
  #session: Session | undefined
  #failure: BridgeError | undefined
  #streaming = false
  #everOpen = false
  #stopping = false
  #sessions = 0
  #wake: () => void = () => {}
  #since = new Date()
  #state: BridgeState = 'starting'

  constructor(options: SupervisorOptions) {
    this.#options = {
      retry: { initialDelay: 200, maxDelay: 10_000 },
      standbyInterval: 500,
      mendInterval: 30_000,
      ...options,
    }
  }

  get state(): BridgeState {
    return this.#state
  }

  /** When the present state began. */
  get since(): Date {
    return this.#since
  }

  /** Why the bridge does not stream; undefined when it does, or has only begun. */
  get reason(): BridgeError | undefined {
    const { sink } = this.#options
    // What somebody must mend comes before an outage that ends by itself.
    if (this.#sinkHalts && this.#failure?.action === 'retry') return sink.reason
    return this.#failure ?? sink.reason
  }

  /** Sessions on the PostgreSQL side after the first that streamed. */
  get reconnects(): number {
    return Math.max(0, this.#sessions - 1)
  }

  /** Runs until stop(). Never rejects: what goes wrong is answered as the error table says. */
  async run(): Promise<StopReport> {
    const { sink, window, log, retry } = this.#options
    sink.start({ onProgress: () => this.#onProgress(), onState: () => this.#onState() })
    for (let attempt = 1; !this.#stopping; attempt++) {
      let streamingSince: number | undefined
      const { settledRows } = window
      try {
        this.#session = await this.#options.newSession(() => {
          streamingSince = performance.now()
          this.#onStreaming()
        })
        if (this.#stopping) break
        await this.#session.run()
      } catch (cause) {
        this.#streaming = false
        // A session that came to nothing is no end of the series: each costs PostgreSQL a connection and some WAL.
        const lasted = streamingSince !== undefined && performance.now() - streamingSince > retry.maxDelay
        if (lasted || (streamingSince !== undefined && window.settledRows > settledRows)) attempt = 1
        if (this.#stopping) log.warn({ err: toBridgeError(cause) }, 'failed while stopping')
        else await this.#answer(toBridgeError(cause), attempt)
      }
    }
    // What a stand-by still holds is the active bridge's to deliver.
    const standsBy = this.#failure?.action === 'standby'
    const drained = standsBy || (window.isEmpty && window.unstoredRows === 0)
    const report = { drained, halted: this.#isHalted }
    await sink.stop()
    return report
  }

  /** Drains and ends run(). Idempotent. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#noteState()
    this.#session?.stop()
    this.#wake()
  }

  /** The one place where an error of a session is answered. */
  async #answer(error: BridgeError, attempt: number): Promise<void> {
    const repeated = this.#failure?.code === error.code
    this.#failure = error
    this.#noteState()
    const { log, retry, standbyInterval, mendInterval, window } = this.#options
    switch (error.action) {
      case 'standby':
        if (!repeated) log.info({ reason: error.message }, 'standing by')
        return this.#sleep(standbyInterval)
      case 'retry': {
        const delay = backoffDelay(retry, attempt)
        log[repeated ? 'debug' : 'warn']({ err: error, delay }, 'session ended, trying again')
        // Only a session may publish: to wait for room alone would be to wait for ever.
        if (error.code === 'SOURCE_BACKPRESSURE') await this.#until(() => window.hasRoom || this.#brokerTakes)
        return this.#sleep(delay)
      }
      case 'halt-retry':
        if (!repeated) log.error({ err: error }, 'halted until this is mended')
        return this.#sleep(mendInterval)
      default:
        log.fatal({ err: error }, 'halted: an operator must act')
        return this.#until(() => false)
    }
  }

  #onStreaming(): void {
    this.#sessions++
    this.#streaming = true
    this.#failure = undefined
    this.#noteState()
  }

  #onProgress(): void {
    this.#session?.onProgress()
    this.#wake()
  }

  #onState(): void {
    this.#noteState()
    this.#session?.onProgress()
    this.#wake()
  }

  /** Whether publishes would be taken; an event that waits for a queue is one that must be tried again. */
  get #brokerTakes(): boolean {
    const { state, reason } = this.#options.sink
    return state === 'open' || (state === 'blocked' && reason?.code !== 'SINK_BLOCKED')
  }

  get #sinkHalts(): boolean {
    const { state } = this.#options.sink
    return state === 'stuck' || state === 'failing'
  }

  get #isHalted(): boolean {
    if (this.#sinkHalts) return true
    return this.#failure !== undefined && this.#failure.action !== 'retry' && this.#failure.action !== 'standby'
  }

  #judge(): BridgeState {
    const { sink } = this.#options
    if (this.#stopping) return 'draining'
    if (this.#isHalted) return 'halted'
    if (this.#failure?.action === 'standby') return 'standby'
    if (sink.state === 'blocked') return 'blocked'
    if (this.#failure !== undefined) return 'retrying'
    if (sink.state !== 'open') return this.#everOpen ? 'retrying' : 'starting'
    return this.#streaming ? 'streaming' : 'starting'
  }

  #noteState(): void {
    if (this.#options.sink.state === 'open') this.#everOpen = true
    const state = this.#judge()
    if (state === this.#state) return
    this.#options.log.info({ from: this.#state, to: state, reason: this.reason?.message }, 'state')
    this.#state = state
    this.#since = new Date()
  }

  /** Waits `delay` milliseconds, or until stop(). */
  async #sleep(delay: number): Promise<void> {
    // Not by the clock: a timer may fire a little before its time by performance.now(), and nobody would wake us again.
    let over = false
    const timer = setTimeout(() => {
      over = true
      this.#wake()
    }, delay)
    await this.#until(() => over)
    clearTimeout(timer)
  }

  /** Waits until the condition holds when something happens, or until stop(). */
  async #until(condition: () => boolean): Promise<void> {
    while (!this.#stopping && !condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
