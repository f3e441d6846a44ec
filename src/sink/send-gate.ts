import { type BackoffPolicy, backoffDelay } from '../base/backoff.ts'
import type { ConfirmWindow, WindowRow } from './confirm-window.ts'
import { DeadRoutes } from './dead-routes.ts'
import { type BrokerReply, refusesTopic } from './failure.ts'
import type { Refusal } from './sink.ts'

/** Delays in milliseconds. */
export interface RetryPolicy extends BackoffPolicy {
  /** Failed deliveries after which an event counts as undeliverable. */
  readonly attempts: number
}

export interface SendGateOptions {
  readonly retry: RetryPolicy
  /** `aggregate`: a failed row waits alone, with what is queued behind it. `commit`: nothing is sent meanwhile. */
  readonly order: 'commit' | 'aggregate'
  /** Whether an event that no queue took is tried again; default true. */
  readonly retryReturned?: boolean
  /** Exchanges of which each new channel has made sure that they are there. */
  readonly verifiedExchanges: ReadonlySet<string>
  readonly isParked: (aggregateType: string | null, aggregateId: string | null) => boolean
  readonly random?: () => number
}

export type SendStep =
  | { readonly kind: 'send' }
  /** Nothing now; `until` (milliseconds) when time alone opens the gate, else the next answer does. */
  | { readonly kind: 'wait'; readonly until: number | undefined }
  /** It cannot be delivered. */
  | { readonly kind: 'keep'; readonly refusal: Refusal }

interface WaitingRow {
  readonly row: WindowRow
  readonly until: number
}

const send: SendStep = { kind: 'send' }
const waitForAnswer: SendStep = { kind: 'wait', until: undefined }
const parked: SendStep = {
  kind: 'keep',
  refusal: { code: 'EVENT_PARKED', text: 'it waits behind an earlier event of its aggregate, which is a dead letter' },
}

/**
 * Whether the next unsent row may be sent now. Normally yes, and the window is a pipeline. Otherwise:
 * - after a nack or return that row is sent again when its back-off is over, and with order `commit` nothing before it
 * - a row is sent alone (nothing else in flight) while the row that made the broker close the channel is being looked
 *   for: the broker does not name it
 * - a row that used up its attempts, or that cannot be sent, is kept as a dead letter
 * No I/O and no clock: times are the caller's, in milliseconds.
 */
export class SendGate {
  readonly #window: ConfirmWindow
  readonly #options: SendGateOptions
  readonly #routes = new DeadRoutes()
  readonly #refusals = new WeakMap<WindowRow, Refusal>()
  /** Rows put off, each until its time. */
  #waiting: WaitingRow[] = []
  #nextWake = Number.POSITIVE_INFINITY
  #notBefore = Number.NEGATIVE_INFINITY
  #huntThrough = -1
  #alone: WindowRow | undefined
  #blocking: WindowRow | undefined

  constructor(window: ConfirmWindow, options: SendGateOptions) {
    this.#window = window
    this.#options = options
  }

  next(row: WindowRow, inFlight: number, now: number): SendStep {
    if (this.#alone?.state === 'in-flight') return waitForAnswer
    if (this.#options.isParked(row.aggregateType, row.aggregateId)) return parked
    const refusal = row.refusal ?? this.#refusals.get(row) ?? this.#refusalOfRoute(row, now)
    if (refusal !== undefined) return { kind: 'keep', refusal }
    if (now < this.#notBefore) return { kind: 'wait', until: this.#notBefore }
    if (!this.#goesAlone(row)) return send
    if (inFlight > 0) return waitForAnswer
    this.#alone = row
    return send
  }

  /** Puts rows whose time has come back in their place. Returns when the next one's comes, if there is one. */
  wakeDue(now: number): number | undefined {
    if (now >= this.#nextWake) {
      const still: WaitingRow[] = []
      this.#nextWake = Number.POSITIVE_INFINITY
      for (const one of this.#waiting) {
        if (one.row.state !== 'waiting') continue
        if (one.until <= now) this.#window.wake(one.row)
        else {
          still.push(one)
          this.#nextWake = Math.min(this.#nextWake, one.until)
        }
      }
      this.#waiting = still
    }
    return this.#nextWake === Number.POSITIVE_INFINITY ? undefined : this.#nextWake
  }

  /** A delivery of `row` failed and window.fail() has counted it: back off, or give up with `refusal`. */
  failed(row: WindowRow, refusal: Refusal, now: number): void {
    const { retry, order, random, retryReturned = true } = this.#options
    const unroutable = refusal.code === 'EVENT_UNROUTABLE'
    const blocks = unroutable && row.unroutable === 'block'
    if (blocks && !isUnsettled(this.#blocking)) this.#blocking = row
    const hopeless = unroutable && (!retryReturned || this.#routes.isDead(row.message!, now))
    if (!blocks && (hopeless || row.attempts >= retry.attempts)) {
      if (unroutable) this.#routes.died(row.message!, now)
      this.refuse(row, refusal)
      return
    }
    const until = now + backoffDelay(retry, row.attempts, random)
    if (order === 'commit') this.#notBefore = Math.max(this.#notBefore, until)
    else this.#putOff(row, until)
  }

  /** The broker took `row`. */
  confirmed(row: WindowRow): void {
    if (!this.#routes.isEmpty) this.#routes.lives(row.message!)
  }

  /** `row` cannot be delivered, whatever its attempts. */
  refuse(row: WindowRow, refusal: Refusal): void {
    this.#refusals.set(row, refusal)
  }

  /** The broker closed the channel for this very row, and said `reply`. */
  blame(row: WindowRow, reply: BrokerReply, now: number): void {
    const { verifiedExchanges, retry } = this.#options
    const { exchange } = row.message!
    const verified = verifiedExchanges.has(exchange)
    // It is there again, as the new channel has seen.
    if (verified && reply.code === 404 && row.attempts < retry.attempts) return
    if (!verified && tellsOfExchange(reply)) this.#routes.refused(exchange, now)
    this.refuse(row, { code: 'EVENT_REFUSED', text: `the broker closed the channel: ${reply.code} ${reply.text}` })
  }

  /** The broker closed the channel for one of the rows up to `seq`: they go one by one from now on. */
  hunt(seq: number): void {
    this.#huntThrough = Math.max(this.#huntThrough, seq)
  }

  /** The row that is in flight alone: when the channel is closed now, it is the culprit. */
  get alone(): WindowRow | undefined {
    return this.#alone?.state === 'in-flight' ? this.#alone : undefined
  }

  /** A row whose policy is to wait for a queue, and that waits. */
  get blocking(): WindowRow | undefined {
    return isUnsettled(this.#blocking) ? this.#blocking : undefined
  }

  #putOff(row: WindowRow, until: number): void {
    this.#window.putOff(row)
    this.#waiting.push({ row, until })
    this.#nextWake = Math.min(this.#nextWake, until)
  }

  #refusalOfRoute({ message, unroutable }: WindowRow, now: number): Refusal | undefined {
    if (message === undefined) return undefined
    if (this.#routes.isRefused(message.exchange, now)) {
      const text = `the broker closed the channel for another event to exchange "${message.exchange}" just now`
      return { code: 'EVENT_REFUSED', text }
    }
    if (unroutable !== 'dead-letter' || this.#routes.isEmpty || !this.#routes.isFlooded(message, now)) return undefined
    return { code: 'EVENT_UNROUTABLE', text: 'no queue took the many events that went there just before; not sent' }
  }

  #goesAlone(row: WindowRow): boolean {
    const { order, retry } = this.#options
    return row.seq <= this.#huntThrough || (order === 'commit' && row.attempts >= retry.attempts)
  }
}

/** 404 NOT_FOUND and 403 ACCESS_REFUSED do, unless it is about the routing key; 406 and others tell of the message. */
function tellsOfExchange(reply: BrokerReply): boolean {
  return reply.code === 404 || (reply.code === 403 && !refusesTopic(reply))
}

function isUnsettled(row: WindowRow | undefined): boolean {
  return row !== undefined && row.state !== 'settled' && row.state !== 'discarded'
}
