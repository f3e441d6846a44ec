import amqp from 'amqplib'

export interface Delivery {
  readonly id: string
  readonly commitLsn: string
  readonly ordinal: number
  readonly routingKey: string
  readonly body: string
  readonly message: amqp.ConsumeMessage
  /** Milliseconds since the epoch at which it arrived. */
  readonly arrivedAt: number
}

/** Consumes one queue into memory, in order of arrival, and wakes who waits for a condition on it. */
export class Collector {
  readonly deliveries: Delivery[] = []
  readonly ids = new Set<string>()
  readonly #url: string
  readonly #queue: string
  #connection: amqp.ChannelModel | undefined
  #closed = false
  #waiting: (() => void)[] = []

  private constructor(url: string, queue: string) {
    this.#url = url
    this.#queue = queue
  }

  /** `queue` must exist. Reconnects by itself while the broker restarts; acknowledges what it has kept. */
  static async start(url: string, queue: string): Promise<Collector> {
    const collector = new Collector(url, queue)
    await collector.#consume()
    return collector
  }

  /** Resolves once the condition holds; rejects after `timeout` ms with what was there. */
  async until(condition: () => boolean, timeout: number, what: string): Promise<void> {
    const deadline = Date.now() + timeout
    while (!condition()) {
      const left = deadline - Date.now()
      if (left <= 0)
        throw new Error(`${what}: not within ${timeout} ms; ${this.ids.size} ids, ${this.deliveries.length} deliveries`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1000))
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** Deliveries by first occurrence of their id. */
  firstDeliveries(): Delivery[] {
    const seen = new Set<string>()
    return this.deliveries.filter((delivery) => !seen.has(delivery.id) && seen.add(delivery.id))
  }

  async stop(): Promise<void> {
    this.#closed = true
    await this.#connection?.close().catch(() => undefined)
  }

  async #consume(): Promise<void> {
    const connection = await amqp.connect(this.#url)
    this.#connection = connection
    connection.on('error', () => undefined)
    connection.on('close', () => void this.#reconnect())
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    await channel.prefetch(2000)
    await channel.consume(this.#queue, (message) => {
      if (message === null) return
      const headers = message.properties.headers ?? {}
      this.deliveries.push({
        id: message.properties.messageId,
        commitLsn: headers['wal-lsn'],
        ordinal: headers['wal-ordinal'],
        routingKey: message.fields.routingKey,
        body: message.content.toString('utf8'),
        message,
        arrivedAt: Date.now(),
      })
      this.ids.add(message.properties.messageId)
      channel.ack(message)
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  async #reconnect(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#consume()
        return
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }
}
