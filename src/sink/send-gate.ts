import { type BackoffPolicy, backoffDelay } from '../base/backoff.ts'
import type { WindowRow } from './confirm-window.ts'
import type { Refusal } from './sink.ts'

/** Delays in milliseconds. */
export interface RetryPolicy extends BackoffPolicy {
  /** Failed deliveries after which an event counts as undeliverable. */
  readonly attempts: number
}

export type SendStep =
  | { readonly kind: 'send' }
  /** Nothing now; `until` (milliseconds) when time alone opens the gate, else the next answer does. */
  | { readonly kind: 'wait'; readonly until: number | undefined }
  /** It cannot be delivered: to be decided on before anything younger is sent. */
  | { readonly kind: 'decide'; readonly refusal: Refusal }

interface HeldRow {
  readonly row: WindowRow
  readonly refusal: Refusal
  readonly until: number
  probing: boolean
}

const send: SendStep = { kind: 'send' }
const waitForAnswer: SendStep = { kind: 'wait', until: undefined }

/**
 * Whether the next unsent row may be sent now. Normally yes, and the window is a pipeline. Otherwise:
 * - after a nack or return nothing is sent before the back-off is over, and then that row first
 * - a row is sent alone (nothing else in flight) when it has used up its attempts, and while the row that made the
 *   broker close the channel is being looked for: the broker does not name it
 * - a held row stops everything younger until its next trial goes through
 * No I/O and no clock: times are the caller's, in milliseconds.
 */
export class SendGate {
  readonly #retry: RetryPolicy
  readonly #random: () => number
  readonly #refusals = new WeakMap<WindowRow, Refusal>()
  #notBefore = Number.NEGATIVE_INFINITY
  #huntThrough = -1
  #alone: WindowRow | undefined
  #held: HeldRow | undefined
  #blocking: WindowRow | undefined

  constructor(retry: RetryPolicy, random: () => number = Math.random) {
    this.#retry = retry
    this.#random = random
  }

  next(row: WindowRow, inFlight: number, now: number): SendStep {
    if (this.#alone?.state === 'in-flight') return waitForAnswer
    const held = this.held
    if (held !== undefined && row.seq >= held.row.seq && !held.probing) {
      if (now < held.until) return { kind: 'wait', until: held.until }
      held.probing = true
      // What the broker refused is sent once more; what this side refused cannot have become better.
      if (row.refusal === undefined) this.#refusals.delete(held.row)
    }
    const refusal = row.refusal ?? this.#refusals.get(row)
    if (refusal !== undefined) return { kind: 'decide', refusal }
    if (now < this.#notBefore) return { kind: 'wait', until: this.#notBefore }
    if (!this.#goesAlone(row)) return send
    if (inFlight > 0) return waitForAnswer
    this.#alone = row
    return send
  }

  /** A delivery of `row` failed and window.fail() has counted it: back off, or give up with `refusal`. */
  failed(row: WindowRow, refusal: Refusal, now: number): void {
    const blocks = refusal.code === 'EVENT_UNROUTABLE' && row.unroutable === 'block'
    if (blocks && !isWaiting(this.#blocking)) this.#blocking = row
    if (!blocks && row.attempts >= this.#retry.attempts) this.refuse(row, refusal)
    else this.#notBefore = Math.max(this.#notBefore, now + backoffDelay(this.#retry, row.attempts, this.#random))
  }

  /** `row` cannot be delivered, whatever its attempts. */
  refuse(row: WindowRow, refusal: Refusal): void {
    this.#refusals.set(row, refusal)
  }

  /** The stream stays at `row` and tries it again at `until`. */
  hold(row: WindowRow, refusal: Refusal, until: number): void {
    this.#held = { row, refusal, until, probing: false }
  }

  /** The broker closed the channel for one of the rows up to `seq`: they go one by one from now on. */
  hunt(seq: number): void {
    this.#huntThrough = Math.max(this.#huntThrough, seq)
  }

  /** The row that is in flight alone: when the channel is closed now, it is the culprit. */
  get alone(): WindowRow | undefined {
    return this.#alone?.state === 'in-flight' ? this.#alone : undefined
  }

  /** The row that the stream is held at; it lets go once it has settled. */
  get held(): HeldRow | undefined {
    if (this.#held !== undefined && !isWaiting(this.#held.row)) this.#held = undefined
    return this.#held
  }

  /** A row whose policy is to wait for a queue, and that waits. */
  get blocking(): WindowRow | undefined {
    return isWaiting(this.#blocking) ? this.#blocking : undefined
  }

  #goesAlone(row: WindowRow): boolean {
    return row.seq <= this.#huntThrough || row.attempts >= this.#retry.attempts || row === this.#held?.row
  }
}

function isWaiting(row: WindowRow | undefined): boolean {
  return row !== undefined && (row.state === 'unsent' || row.state === 'in-flight')
}
