import type { BridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import type { RoutedEvent } from '../routing/routing.ts'
import type { ConfirmWindow } from '../sink/confirm-window.ts'
import type { Sink } from '../sink/sink.ts'
import type { StartPosition } from '../source/source.ts'

/** Where the events of a replay go: to the broker, or into a count. */
export interface ReplayOutput {
  push(event: RoutedEvent): void
  commit(commitLsn: Lsn, endLsn: Lsn): void
  idle(walEnd: Lsn): void
  /** What was pushed may be sent. */
  flush(): void
  readonly isFull: boolean
  readonly hasRoom: boolean
  /** Nothing waits to be settled. */
  readonly isEmpty: boolean
  /** Up to where events came in: where another connection goes on. */
  readonly received: StartPosition
  /** Up to where everything is settled: where another process goes on. */
  readonly settled: StartPosition
  /** Events settled so far. */
  readonly settledRows: number
  /** Why nothing is taken at present; undefined when all is well. */
  readonly trouble: BridgeError | undefined
}

/** Through a window of its own to a sink of its own. */
export class PublishOutput implements ReplayOutput {
  readonly #window: ConfirmWindow
  readonly #sink: Sink

  constructor(window: ConfirmWindow, sink: Sink) {
    this.#window = window
    this.#sink = sink
  }

  push(event: RoutedEvent): void {
    this.#window.pushRow(event)
  }

  commit(commitLsn: Lsn, endLsn: Lsn): void {
    this.#window.pushCommit(commitLsn, endLsn)
  }

  idle(walEnd: Lsn): void {
    this.#window.pushIdle(walEnd)
  }

  flush(): void {
    this.#sink.flush()
  }

  get isFull(): boolean {
    return this.#window.isFull
  }

  get hasRoom(): boolean {
    return this.#window.hasRoom
  }

  get isEmpty(): boolean {
    return this.#window.isEmpty
  }

  get received(): StartPosition {
    return this.#window.received
  }

  get settled(): StartPosition {
    return this.#window.settled
  }

  get settledRows(): number {
    return this.#window.settledRows
  }

  get trouble(): BridgeError | undefined {
    return this.#sink.state === 'open' ? undefined : this.#sink.reason
  }
}

/** Publishes nothing: tells each event to `visit`, which is all that becomes of it. */
export class CountOutput implements ReplayOutput {
  readonly isFull = false
  readonly hasRoom = true
  readonly isEmpty = true
  readonly trouble = undefined
  readonly #visit: (event: RoutedEvent) => void
  #received: StartPosition
  #settledRows = 0

  constructor(start: StartPosition, visit: (event: RoutedEvent) => void) {
    this.#received = start
    this.#visit = visit
  }

  push(event: RoutedEvent): void {
    this.#visit(event)
    this.#settledRows++
    const { commitLsn, ordinal } = event
    this.#received = { lsn: this.#received.lsn, partial: { commitLsn, rows: ordinal + 1 } }
  }

  commit(_commitLsn: Lsn, endLsn: Lsn): void {
    this.#received = { lsn: endLsn, partial: null }
  }

  idle(walEnd: Lsn): void {
    if (this.#received.partial === null) this.#received = { lsn: walEnd, partial: null }
  }

  flush(): void {}

  get received(): StartPosition {
    return this.#received
  }

  get settled(): StartPosition {
    return this.#received
  }

  get settledRows(): number {
    return this.#settledRows
  }
}
