import { assert } from '../base/assert.ts'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import { Answers, type SinkLog } from './answers.ts'
import { ConfirmClock } from './confirm-clock.ts'
import type { ConfirmWindow, WindowRow } from './confirm-window.ts'
import { type BrokerReply, connectionLost } from './failure.ts'
import { KeepQueue, keepNothing } from './keep-queue.ts'
import type { ChannelHandlers, PublishChannel } from './publish-channel.ts'
import type { PublishLease } from './publish-lease.ts'
import { type RetryPolicy, SendGate } from './send-gate.ts'
import type { Refusal, SinkCounters } from './sink.ts'
import type { UndeliverableKeeper } from './undeliverable.ts'

/** Durations in milliseconds. */
export interface PublisherOptions {
  readonly window: ConfirmWindow
  readonly retry: RetryPolicy
  /** Default 30 s. Does not run while the broker blocks. */
  readonly confirmTimeout?: number
  /** How often something that somebody has to mend is tried again; default 30 s. */
  readonly mendInterval?: number
  /** Default: none, and the stream stays at what cannot be delivered. */
  readonly keeper?: UndeliverableKeeper
  /** Whether an event that no queue took is tried again; default true. */
  readonly retryReturned?: boolean
  /** Exchanges of which each channel that is attached has made sure that they are there. */
  readonly verifiedExchanges?: ReadonlySet<string>
  /** As the window's; default `commit`. */
  readonly order?: 'commit' | 'aggregate'
  /** Nothing is published without; default: nobody else publishes the same. */
  readonly lease?: PublishLease
  readonly log: SinkLog
  /** For each answer of the broker: how long its newest message took, and how many it confirmed. */
  readonly onConfirmLatency?: (milliseconds: number, count: number) => void
}

export interface PublisherEvents {
  /** The broker has answered, or a row was decided on: the settled position may have moved. */
  onProgress(): void
  /** Something may have changed in how the sink stands. */
  onChange(): void
}

/**
 * Publishes what the window gives over the present channel, and settles it by the answers. Outlives the channels: each
 * is attached, and detached when it is lost. SendGate decides what may be sent, Answers what an answer means.
 */
export class Publisher {
  readonly counters: SinkCounters = {
    published: 0,
    confirmed: 0,
    nacked: 0,
    returned: 0,
    deadLettered: 0,
    dropped: 0,
    reconnects: 0,
  }
  /** What a new channel reports to. */
  readonly channelHandlers: ChannelHandlers
  readonly gate: SendGate
  readonly #options: PublisherOptions
  readonly #window: ConfirmWindow
  readonly #events: PublisherEvents
  readonly #answers: Answers
  readonly #keeping: KeepQueue
  readonly #clock: ConfirmClock
  readonly #confirmTimeout: number
  #channel: PublishChannel | undefined
  #alarm: string | undefined
  #stopped = false
  /** The row for which the broker closed the last channel; blamed once a new one shows that all else is in order. */
  #suspect: { row: WindowRow; reply: BrokerReply } | undefined
  #lastSeq = -1
  #progressDue = false
  #wake: NodeJS.Timeout | undefined
  #ticker: NodeJS.Timeout | undefined
  #bytesTaken = 0

  constructor(options: PublisherOptions, events: PublisherEvents) {
    this.#options = options
    this.#window = options.window
    this.#events = events
    const { window, log, retry, order = 'commit', keeper = keepNothing, mendInterval = 30_000 } = options
    this.gate = new SendGate(window, {
      retry,
      order,
      retryReturned: options.retryReturned ?? true,
      verifiedExchanges: options.verifiedExchanges ?? new Set(),
      isParked: (type, id) => keeper.isParked(type, id),
    })
    this.#keeping = new KeepQueue({
      window,
      keeper,
      mendInterval,
      log,
      onKept: (count) => {
        this.counters.deadLettered += count
        this.#progress()
      },
      onChange: () => events.onChange(),
    })
    this.#answers = new Answers(options.window, this.gate, this.counters, options.log)
    this.#confirmTimeout = options.confirmTimeout ?? 30_000
    this.#clock = new ConfirmClock(this.#confirmTimeout, performance.now())
    this.channelHandlers = {
      onAnswer: (confirmed, tag, multiple) => this.#onAnswer(confirmed, tag, multiple),
      onReturn: (headers, reply) => this.#answers.returned(headers, reply),
    }
  }

  /** What the broker said with connection.blocked; undefined while it takes messages. */
  get alarm(): string | undefined {
    return this.#alarm
  }

  /** Why dead letters cannot be stored at present. */
  get unkept(): BridgeError | undefined {
    return this.#keeping.trouble
  }

  attach(channel: PublishChannel): void {
    this.#channel = channel
    if (this.#suspect !== undefined) this.gate.blame(this.#suspect.row, this.#suspect.reply, performance.now())
    this.#suspect = undefined
    channel.connection.onBlocked((reason) => {
      if (!channel.over) this.#setAlarm(reason)
    })
    this.#ticker = setInterval(() => this.#tick(channel), this.#clock.tickInterval)
    this.pump()
  }

  /**
   * The channel is over: what it left unanswered is unsent again. `refused` is what the broker said when it closed the
   * channel; it does not say for which publish, so this is found out. True when the next channel should come at once.
   */
  detach(refused: BrokerReply | undefined): boolean {
    clearInterval(this.#ticker)
    clearTimeout(this.#wake)
    this.#channel = undefined
    this.#setAlarm(undefined)
    const looking = refused !== undefined && this.#window.inFlight > 0
    if (looking) this.#suspectOne(refused)
    this.#window.channelLost()
    return looking
  }

  /** It was not the fault of an event that the channel was closed: an exchange or a permission is gone for all. */
  absolve(): void {
    this.#suspect = undefined
  }

  /** Nothing is called any more. The channel is the caller's to end. */
  stop(): void {
    this.#stopped = true
    this.#keeping.stop()
  }

  /** The right to publish is there again, and likely the database that dead letters go to. */
  resume(): void {
    this.#keeping.hurry()
    this.pump()
  }

  /** Publishes what may be sent now. */
  pump(): void {
    const channel = this.#channel
    const now = performance.now()
    if (channel === undefined || channel.over || this.#alarm !== undefined || !this.#mayPublish(now)) return
    try {
      this.#publishTo(channel, now)
      if (channel.flush()) failPoint('published')
    } catch (error) {
      channel.end(toBridgeError(error))
    }
  }

  #mayPublish(now: number): boolean {
    return !this.#stopped && this.#options.lease?.holds(now) !== false
  }

  #publishTo(channel: PublishChannel, now: number): void {
    const sentAt = this.#clock.at(now)
    let wakeAt = this.gate.wakeDue(now)
    while (!channel.over) {
      const row = this.#window.nextUnsent()
      if (row === undefined) break
      const step = this.gate.next(row, this.#window.inFlight, now)
      if (step.kind === 'send') this.#send(channel, row, sentAt)
      else if (step.kind === 'keep') this.#keep(row, step.refusal)
      else {
        if (step.until !== undefined) wakeAt = Math.min(step.until, wakeAt ?? step.until)
        break
      }
    }
    if (wakeAt !== undefined) this.#wakeAfter(wakeAt - now)
  }

  #send(channel: PublishChannel, row: WindowRow, sentAt: number): void {
    let tag: number
    try {
      tag = channel.publish(row.message!)
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError)
        this.gate.refuse(row, { code: 'EVENT_INVALID', text: `AMQP cannot carry it: ${error.message}` })
      else channel.end(connectionLost(error, channel.connection.endpoint))
      return
    }
    const expected = this.#window.sent(row, sentAt)
    assert(tag === expected, () => `the channel gave delivery tag ${tag}, the window ${expected}`)
    this.#lastSeq = Math.max(this.#lastSeq, row.seq)
    this.counters.published++
  }

  /** What is parked takes those with it that are queued behind it. */
  #keep(row: WindowRow, refusal: Refusal): void {
    for (const one of this.#window.keep(row, refusal.code === 'EVENT_PARKED')) this.#keeping.add(one, refusal)
  }

  #suspectOne(refused: BrokerReply): void {
    const row = this.gate.alone
    if (row === undefined) {
      this.gate.hunt(this.#lastSeq)
      return
    }
    this.#window.fail(row)
    this.#suspect = { row, reply: refused }
  }

  #onAnswer(confirmed: boolean, tag: number, multiple: boolean): void {
    const now = performance.now()
    const before = this.counters.confirmed
    const oldest = this.#window.oldestInFlight()
    const last = this.#answers.answer(confirmed, tag, multiple, now)
    const { onConfirmLatency } = this.#options
    if (last !== undefined) onConfirmLatency?.(this.#clock.at(now) - last.sentAt, this.counters.confirmed - before)
    if (oldest?.state === 'in-flight') failPoint('answered-out-of-order')
    if (this.#progressDue) return
    // Once for all answers of a socket chunk: amqplib hands them on in one go.
    this.#progressDue = true
    process.nextTick(() => {
      this.#progressDue = false
      this.#progress()
    })
  }

  #progress(): void {
    if (this.#stopped) return
    this.#events.onProgress()
    this.pump()
    this.#events.onChange()
  }

  #tick(channel: PublishChannel): void {
    const { socket, endpoint } = channel.connection
    const taken = socket.bytesWritten - socket.writableLength
    const paused = this.#alarm !== undefined || (socket.writableLength > 0 && taken !== this.#bytesTaken)
    this.#bytesTaken = taken
    if (!this.#clock.tick(performance.now(), this.#window.oldestInFlight()?.sentAt, paused)) return
    const text = `no confirm for ${this.#confirmTimeout / 1000} s from ${endpoint}`
    channel.end(new BridgeError('SINK_CONFIRM_OVERDUE', text))
  }

  #setAlarm(reason: string | undefined): void {
    this.#alarm = reason
    this.#clock.pause(reason !== undefined, performance.now())
    this.pump()
    this.#events.onChange()
  }

  #wakeAfter(delay: number): void {
    clearTimeout(this.#wake)
    this.#wake = setTimeout(() => this.pump(), Math.max(1, delay))
  }
}
