import { setTimeout as delay } from 'node:timers/promises'
import amqp from 'amqplib'
import type { QueueType } from './options.ts'

/** Names on the private broker: both sides publish to this exchange, and one queue takes all events. */
export const exchange = 'bench'
export const queue = 'bench_events'

/** Routing keys of the marks that lie around a backlog. */
export type Mark = 'bench.first' | 'bench.last'

/** Declares, deletes and listens. One connection, which publishes nothing. */
export class Broker {
  readonly #connection: amqp.ChannelModel
  readonly #channel: amqp.Channel
  #onMark: (mark: Mark) => void = () => {}

  private constructor(connection: amqp.ChannelModel, channel: amqp.Channel) {
    this.#connection = connection
    this.#channel = channel
  }

  static async connect(url: string): Promise<Broker> {
    const connection = await amqp.connect(url, { noDelay: true })
    const channel = await connection.createChannel()
    const broker = new Broker(connection, channel)
    await channel.assertExchange(exchange, 'topic', { durable: true })
    const marks = await channel.assertQueue('', { exclusive: true })
    await channel.bindQueue(marks.queue, exchange, 'bench.#')
    await channel.consume(
      marks.queue,
      (message) => {
        if (message !== null) broker.#onMark(message.fields.routingKey as Mark)
      },
      { noAck: true },
    )
    return broker
  }

  /** An empty queue of this type, without anything that an earlier round left behind. */
  async freshQueue(type: QueueType): Promise<void> {
    await this.#channel.deleteQueue(queue)
    await this.#channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': type } })
    await this.#channel.bindQueue(queue, exchange, 'order.#')
  }

  /** An exchange with one queue of this type, both of that name, which keeps the newest 10,000 messages. */
  async forgetfulQueue(name: string, type: QueueType): Promise<void> {
    await this.#channel.assertExchange(name, 'fanout', { durable: true })
    await this.#channel.deleteQueue(name)
    const limit = type === 'stream' ? { 'x-max-length-bytes': 10_000_000 } : { 'x-max-length': 10_000 }
    await this.#channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': type, ...limit } })
    await this.#channel.bindQueue(name, name, '')
  }

  /** Resolves when a message has come to that queue since the call. */
  async untilArrived(name: string): Promise<void> {
    await this.#channel.purgeQueue(name)
    while ((await this.#channel.checkQueue(name)).messageCount === 0) await delay(50)
  }

  /** Resolves with performance.now() when the mark arrives from now on. */
  mark(awaited: Mark): Promise<number> {
    return new Promise((resolve) => {
      const before = this.#onMark
      this.#onMark = (mark) => {
        before(mark)
        if (mark === awaited) resolve(performance.now())
      }
    })
  }

  /** Calls `onArrival` with each message id and the time of its arrival, performance.now(), until close(). */
  async listen(type: QueueType, onArrival: (id: string, at: number) => void): Promise<void> {
    await this.#channel.prefetch(500)
    const fromNow = type === 'stream' ? { arguments: { 'x-stream-offset': 'next' } } : {}
    await this.#channel.consume(
      queue,
      (message) => {
        if (message === null) return
        onArrival(message.properties.messageId, performance.now())
        this.#channel.ack(message)
      },
      fromNow,
    )
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}
