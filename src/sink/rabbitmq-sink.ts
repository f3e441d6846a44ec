import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import { type BackoffPolicy, backoffDelay } from '../base/backoff.ts'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import { BrokerDialer, type BrokerOptions } from './amqp-connection.ts'
import { connectFailure } from './failure.ts'
import { openPublishChannel } from './open-publish-channel.ts'
import type { PublishChannel } from './publish-channel.ts'
import { Publisher, type PublisherOptions } from './publisher.ts'
import type { Sink, SinkCounters, SinkHandlers, SinkState } from './sink.ts'
import { isFailing, type Standing, standingOf } from './standing.ts'
import type { RequiredExchange, Topology } from './topology.ts'

export interface RabbitmqSinkOptions extends BrokerOptions, PublisherOptions {
  /** Exchanges that must exist before anything is published; `''`, the default exchange, always does. */
  readonly exchanges: readonly RequiredExchange[]
  readonly topology: Topology
  /** Default 200 ms to 10 s. */
  readonly reconnect?: BackoffPolicy
}

/** A connection that lived this long, or confirmed anything, starts a new series of reconnects. */
const stableAfter = 10_000 // milliseconds
const setupTimeout = 30_000 // milliseconds

/**
 * Keeps a connection and hands it to the publisher:
 *
 *   connecting ──► verify, declare ──► open ──lost──► connecting, at once or after a back-off
 *        └── login, TLS, exchange or topology not in order ──► failing, looked at again every mendInterval
 */
export class RabbitmqSink implements Sink {
  readonly #options: RabbitmqSinkOptions
  readonly #dialer: BrokerDialer
  readonly #publisher: Publisher
  readonly #abort = new AbortController()
  #handlers: SinkHandlers | undefined
  #running: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #channel: PublishChannel | undefined
  #standing: Standing = { state: 'idle', reason: undefined }
  #trouble: BridgeError | undefined
  /** Set when the broker refused a publish for want of permission: is that one event, or all? */
  #checkPermission = false
  #everOpen = false
  #attempt = 0

  constructor(options: RabbitmqSinkOptions) {
    this.#options = options
    this.#dialer = new BrokerDialer(options)
    const verifiedExchanges = new Set(options.exchanges.map(({ name }) => name))
    this.#publisher = new Publisher(
      { ...options, verifiedExchanges },
      {
        onProgress: () => this.#handlers?.onProgress(),
        onChange: () => this.#note(),
      },
    )
  }

  get state(): SinkState {
    return this.#standing.state
  }

  get reason(): BridgeError | undefined {
    return this.#standing.reason
  }

  get counters(): SinkCounters {
    return this.#publisher.counters
  }

  start(handlers: SinkHandlers): void {
    assert(this.#running === undefined && this.#stopping === undefined, 'sink started twice, or after its stop')
    this.#handlers = handlers
    this.#running = this.#run()
  }

  flush(): void {
    this.#publisher.pump()
  }

  resume(): void {
    this.#publisher.resume()
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#publisher.stop()
    this.#abort.abort()
    this.#channel?.end(stopped())
    await this.#running
    this.#standing = { state: 'closed', reason: undefined }
  }

  /** Sessions for ever, until stop() or a broken invariant. Never rejects. */
  async #run(): Promise<void> {
    const { mendInterval = 30_000, reconnect = { initialDelay: 200, maxDelay: 10_000 } } = this.#options
    const { signal } = this.#abort
    this.#note()
    while (!signal.aborted) {
      const { error, again } = await this.#session().catch((thrown) => ({ error: toBridgeError(thrown), again: false }))
      this.#trouble = error
      this.#note()
      if (error.action === 'bug') return
      if (again) continue
      const delay = isFailing(error) ? mendInterval : backoffDelay(reconnect, ++this.#attempt)
      // Rejects when it is stopped, which the loop looks at itself.
      await sleep(delay, undefined, { signal }).catch(() => undefined)
    }
  }

  /** One connection, from the attempt to its end. `again`: the next one may follow at once. */
  async #session(): Promise<{ error: BridgeError; again: boolean }> {
    let channel: PublishChannel
    try {
      channel = await this.#open()
    } catch (thrown) {
      const error = connectFailure(thrown, 'the broker')
      if (isFailing(error)) this.#publisher.absolve()
      return { error, again: false }
    }
    try {
      return await this.#serve(channel)
    } finally {
      await channel.connection.close()
    }
  }

  #open(): Promise<PublishChannel> {
    return openPublishChannel({
      dialer: this.#dialer,
      topology: this.#options.topology,
      exchanges: this.#options.exchanges,
      checkPermission: this.#checkPermission,
      setupTimeout,
      signal: this.#abort.signal,
      handlers: this.#publisher.channelHandlers,
    })
  }

  async #serve(channel: PublishChannel): Promise<{ error: BridgeError; again: boolean }> {
    if (this.#abort.signal.aborted) return { error: stopped(), again: false }
    const { counters } = this.#publisher
    const { confirmed } = counters
    const openedAt = performance.now()
    if (this.#everOpen) counters.reconnects++
    this.#everOpen = true
    this.#channel = channel
    this.#trouble = undefined
    this.#checkPermission = false
    this.#publisher.attach(channel)
    this.#note()
    const { error, refused } = await channel.ended
    this.#channel = undefined
    this.#trouble = error
    if (counters.confirmed > confirmed || performance.now() - openedAt > stableAfter) this.#attempt = 0
    this.#checkPermission = refused?.code === 403
    return { error, again: this.#publisher.detach(refused) }
  }

  #note(): void {
    if (this.#abort.signal.aborted) return
    const { alarm, gate, unkept } = this.#publisher
    const next = standingOf({
      connected: this.#channel !== undefined,
      trouble: this.#trouble,
      alarm,
      unkept,
      blocking: gate.blocking,
    })
    const { state, reason } = this.#standing
    if (next.state === state && next.reason?.message === reason?.message && next.reason?.code === reason?.code) return
    this.#standing = next
    const { log } = this.#options
    if (next.reason === undefined) log.info({ sink: next.state }, `RabbitMQ: ${next.state}`)
    else log.warn({ sink: next.state, err: next.reason }, `RabbitMQ: ${next.state}`)
    this.#handlers?.onState()
  }
}

function stopped(): BridgeError {
  return new BridgeError('SINK_CONNECTION_LOST', 'the sink was stopped')
}
