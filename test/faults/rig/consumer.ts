import { setTimeout as delay } from 'node:timers/promises'
import { type ChannelModel, type ConsumeMessage, connect } from 'amqplib'
import { parseLsn } from '../../../src/base/lsn.ts'
import type { Delivery } from '../checkers/history.ts'
import { digestOf } from '../workload/digest.ts'

/** Consumes one queue for ever, acknowledges what it noted, and connects anew while the broker comes and goes. */
export class Consumer {
  readonly deliveries: Delivery[] = []
  readonly ids = new Set<string>()
  readonly #url: string
  readonly #queue: string
  #connection: ChannelModel | undefined
  #closed = false
  #paused = false
  #loop: Promise<void> | undefined
  #onFirst: (delivery: Delivery) => void = () => {}

  constructor(url: string, queue: string) {
    this.#url = url
    this.#queue = queue
  }

  /** Called with the first delivery of each id. */
  onFirst(listener: (delivery: Delivery) => void): void {
    this.#onFirst = listener
  }

  /** Resolves when it consumes for the first time. */
  async start(): Promise<void> {
    const { closed } = await this.#consume()
    this.#loop = this.#again(closed)
  }

  /** Closes its connection, so that the queue fills; resume() goes on. */
  async pause(): Promise<void> {
    this.#paused = true
    await this.#connection?.close().catch(() => undefined)
  }

  resume(): void {
    this.#paused = false
  }

  async stop(): Promise<void> {
    this.#closed = true
    await Promise.race([this.#connection?.close().catch(() => undefined), delay(2000, undefined, { ref: false })])
    await Promise.race([this.#loop, delay(2000, undefined, { ref: false })])
  }

  async #again(first: Promise<void>): Promise<void> {
    let closed = first
    for (;;) {
      await closed
      do {
        if (this.#closed) return
        await delay(200)
      } while (this.#paused)
      // The queue may not be there yet right after a restart of the broker: asked again.
      closed = (await this.#consume().catch(() => undefined))?.closed ?? Promise.resolve()
    }
  }

  /** Resolves when it consumes; `closed` is the end of that. */
  async #consume(): Promise<{ readonly closed: Promise<void> }> {
    const connection = await connect(this.#url, { timeout: 5000, noDelay: true })
    this.#connection = connection
    connection.on('error', () => undefined)
    const closed = new Promise<void>((resolve) => connection.once('close', () => resolve()))
    try {
      const channel = await connection.createChannel()
      channel.on('error', () => undefined)
      // A queue deleted or failed over cancels the consumer; a closed channel ends it.
      const lost = (): void => void connection.close().catch(() => undefined)
      channel.once('close', lost)
      await channel.prefetch(2000)
      const consuming = channel.consume(this.#queue, (message) => {
        if (message === null) return lost()
        this.#note(message)
        channel.ack(message)
      })
      await within(consuming, 15_000, 'the queue to answer')
      return { closed }
    } catch (error) {
      await connection.close().catch(() => undefined)
      throw error
    }
  }

  #note({ properties, fields, content }: ConsumeMessage): void {
    const headers: Record<string, unknown> = properties.headers ?? {}
    const id = String(properties.messageId)
    const aggregate = String(headers.aggregate_id)
    const sequence = Number(headers.sequence)
    const delivery: Delivery = {
      id,
      // A replay from the table has no positions.
      commitLsn: parseLsn(String(headers['wal-lsn'] ?? '0/0')),
      ordinal: Number(headers['wal-ordinal']),
      aggregate,
      sequence,
      digest: digestOf({
        routingKey: fields.routingKey,
        type: String(properties.type),
        aggregate,
        sequence,
        body: content,
      }),
      replay: headers['wal-replay'] === undefined ? undefined : String(headers['wal-replay']),
      redelivered: fields.redelivered,
      arrivedAt: Date.now(),
      committedAt: Date.parse(String(headers['wal-committed-at'])),
    }
    this.deliveries.push(delivery)
    if (this.ids.has(id)) return
    this.ids.add(id)
    this.#onFirst(delivery)
  }
}

async function within<T>(promise: Promise<T>, bound: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${bound} ms for ${what}`)), bound)
  })
  try {
    return await Promise.race([promise, expired])
  } finally {
    clearTimeout(timer)
  }
}
