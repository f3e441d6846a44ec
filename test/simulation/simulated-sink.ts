import { backoffDelay } from '../../src/base/backoff.ts'
import { BridgeError } from '../../src/base/errors.ts'
import type { PublishChannel } from '../../src/sink/publish-channel.ts'
import { Publisher, type PublisherOptions } from '../../src/sink/publisher.ts'
import type { OutboundMessage, Sink, SinkCounters, SinkHandlers, SinkState } from '../../src/sink/sink.ts'
import { type Standing, standingOf } from '../../src/sink/standing.ts'
import { BrokerChannel } from './fake-broker.ts'
import type { Owner } from './virtual-time.ts'
import { networkDelay, type World } from './world.ts'

const reconnect = { initialDelay: 50, maxDelay: 800 }

/** RabbitmqSink over the fake broker: the real Publisher, and the same loop around it. */
export class SimulatedSink implements Sink {
  channel: BrokerChannel | undefined
  readonly #world: World
  readonly #owner: Owner
  readonly #publisher: Publisher
  readonly #onPublish: (message: OutboundMessage) => void
  #handlers: SinkHandlers | undefined
  #standing: Standing = { state: 'idle', reason: undefined }
  #trouble: BridgeError | undefined
  #stopped = false
  #attempt = 0
  #everOpen = false

  constructor(world: World, owner: Owner, options: PublisherOptions, onPublish: (message: OutboundMessage) => void) {
    this.#world = world
    this.#owner = owner
    this.#onPublish = onPublish
    this.#publisher = new Publisher(options, {
      onProgress: () => this.#handlers?.onProgress(),
      onChange: () => this.#note(),
    })
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
    this.#handlers = handlers
    this.#run()
  }

  flush(): void {
    this.#publisher.pump()
  }

  resume(): void {
    this.#publisher.resume()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#publisher.stop()
    this.channel?.end(new BridgeError('SINK_CONNECTION_LOST', 'the sink was stopped'))
    this.#standing = { state: 'closed', reason: undefined }
  }

  async #run(): Promise<void> {
    this.#note()
    while (!this.#stopped) {
      const channel = await this.#connect()
      const again = channel === undefined ? false : await this.#serve(channel)
      this.#note()
      if (this.#trouble?.action === 'bug') return
      if (again || this.#stopped) continue
      await new Promise<void>((resolve) => setTimeout(resolve, backoffDelay(reconnect, ++this.#attempt)))
    }
  }

  /** Undefined when the broker cannot be reached. */
  async #connect(): Promise<BrokerChannel | undefined> {
    const { time, broker } = this.#world
    const running = await new Promise<boolean>((resolve) => {
      time.post(networkDelay(this.#world), this.#owner, () => resolve(broker.running))
    })
    if (running) return new BrokerChannel(this.#world, this.#owner, this.#publisher.channelHandlers, this.#onPublish)
    this.#trouble = new BridgeError('SINK_UNREACHABLE', 'simulated: the broker is down')
    return undefined
  }

  /** True when the next channel is to come at once. */
  async #serve(channel: BrokerChannel): Promise<boolean> {
    const { counters } = this.#publisher
    if (this.#everOpen) counters.reconnects++
    this.#everOpen = true
    this.#trouble = undefined
    if (!this.#stopped) {
      this.channel = channel
      // The publisher uses no other members of a channel than those which the simulated one has.
      this.#publisher.attach(channel as unknown as PublishChannel)
      this.#note()
      const { confirmed } = counters
      const { error, refused } = await channel.ended
      this.channel = undefined
      this.#trouble = error
      if (counters.confirmed > confirmed) this.#attempt = 0
      await channel.connection.close()
      return this.#publisher.detach(refused)
    }
    await channel.connection.close()
    return false
  }

  #note(): void {
    if (this.#stopped) return
    const { alarm, gate, unkept } = this.#publisher
    const connected = this.channel !== undefined
    this.#standing = standingOf({ connected, trouble: this.#trouble, alarm, unkept, blocking: gate.blocking })
    this.#handlers?.onState()
  }
}
