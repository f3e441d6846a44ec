import { setTimeout as delay } from 'node:timers/promises'
import amqp from 'amqplib'
import type { Arrival } from './balance.ts'

export interface Event extends Arrival {
  readonly routingKey: string
  /** Commit in PostgreSQL (header `wal-committed-at`) to arrival here, milliseconds. */
  readonly latency: number
  readonly repeated: boolean
}

const reconnectDelay_ms = 200

/** Consumes a queue for as long as it is not stopped, across restarts of the broker. Acknowledges what it has seen. */
export class Consumer {
  readonly arrivals: Arrival[] = []
  readonly ids = new Set<string>()
  readonly #url: string
  readonly #queue: string
  readonly #onEvent: (event: Event) => void
  #connection: amqp.ChannelModel | undefined
  #stopped = false

  private constructor(url: string, queue: string, onEvent: (event: Event) => void) {
    this.#url = url
    this.#queue = queue
    this.#onEvent = onEvent
  }

  /** Declares a quorum queue that takes every message of the exchange, and begins to consume it. */
  static async start(url: string, exchange: string, queue: string, onEvent: (event: Event) => void): Promise<Consumer> {
    const consumer = new Consumer(url, queue, onEvent)
    const channel = await consumer.#open()
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await channel.bindQueue(queue, exchange, '#')
    await consumer.#consume(channel)
    return consumer
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  async #open(): Promise<amqp.Channel> {
    const connection = await amqp.connect(this.#url, { timeout: 5_000 })
    // A broker that goes away raises "error" first; "close" follows and does what there is to do.
    connection.on('error', () => undefined)
    connection.once('close', () => {
      this.#connection = undefined
      if (!this.#stopped) void this.#reopen()
    })
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    this.#connection = connection
    return channel
  }

  async #reopen(): Promise<void> {
    while (!this.#stopped) {
      await delay(reconnectDelay_ms)
      try {
        const channel = await this.#open()
        await this.#consume(channel)
        return
      } catch {
        // Still starting, or the queue has no leader yet. A connection that was opened comes back through its "close".
        if (this.#connection === undefined) continue
        await this.#connection.close().catch(() => undefined)
        return
      }
    }
  }

  async #consume(channel: amqp.Channel): Promise<void> {
    await channel.prefetch(200)
    await channel.consume(this.#queue, (message) => {
      // null: the broker cancelled this consumer, as it does when a queue loses its leader
      if (message === null) return void this.#connection?.close().catch(() => undefined)
      this.#take(message)
      channel.ack(message)
    })
  }

  #take({ properties, fields }: amqp.ConsumeMessage): void {
    const headers: Record<string, unknown> = properties.headers ?? {}
    const id = String(properties.messageId)
    const arrival = { id, lsn: String(headers['wal-lsn']), ordinal: Number(headers['wal-ordinal']) }
    const repeated = this.ids.has(id)
    this.arrivals.push(arrival)
    this.ids.add(id)
    const latency = performance.timeOrigin + performance.now() - Date.parse(String(headers['wal-committed-at']))
    this.#onEvent({ ...arrival, routingKey: fields.routingKey, latency, repeated })
  }
}
