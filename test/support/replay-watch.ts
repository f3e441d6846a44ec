import { createHash } from 'node:crypto'
import amqp from 'amqplib'
import { type Lsn, parseLsn } from '../../src/base/lsn.ts'

/** One delivery, small enough to keep half a million. */
export interface Seen {
  readonly id: string
  readonly lsn: Lsn
  readonly ordinal: number
  /** Of body, properties, routing key and headers, less `wal-replay`. */
  readonly digest: string
  readonly replayId: string | undefined
}

/** Consumes one queue, in order of arrival, and wakes who waits for so many. */
export class ReplayWatch {
  readonly seen: Seen[] = []
  readonly #connection: amqp.ChannelModel
  #wake: () => void = () => {}

  private constructor(connection: amqp.ChannelModel) {
    this.#connection = connection
  }

  /** A new queue `name` bound to everything of `exchange`; it goes with the connection. */
  static async bind(url: string, exchange: string, name: string): Promise<ReplayWatch> {
    const connection = await amqp.connect(url)
    connection.on('error', () => undefined)
    const channel = await connection.createChannel()
    await channel.assertExchange(exchange, 'topic', { durable: true })
    await channel.assertQueue(name, { exclusive: true, durable: false })
    await channel.bindQueue(name, exchange, '#')
    const watch = new ReplayWatch(connection)
    await channel.consume(
      name,
      (message) => {
        if (message === null) return
        watch.seen.push(seenOf(message))
        watch.#wake()
      },
      { noAck: true },
    )
    return watch
  }

  /** Resolves when `count` have arrived; rejects after `timeout` ms. */
  until(count: number, timeout: number): Promise<void> {
    return this.untilHolds(() => this.seen.length >= count, timeout, `${count} deliveries`)
  }

  /** Resolves when the condition holds, looked at with each delivery; rejects after `timeout` ms. */
  async untilHolds(condition: () => boolean, timeout: number, what: string): Promise<void> {
    const deadline = Date.now() + timeout
    while (!condition()) {
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`${what}: not within ${timeout} ms, ${this.seen.length} arrived`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 500))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Deliveries by first occurrence of their id: repeats of a reconnect left out. */
  first(): Seen[] {
    const ids = new Set<string>()
    return this.seen.filter(({ id }) => !ids.has(id) && ids.add(id))
  }

  close(): Promise<void> {
    return this.#connection.close()
  }
}

function seenOf(message: amqp.ConsumeMessage): Seen {
  const { messageId, headers = {}, ...properties } = message.properties
  const { 'wal-replay': replayId, ...others } = headers
  const digest = createHash('sha1')
    .update(JSON.stringify([properties, others, message.fields.routingKey]))
    .update(message.content)
    .digest('base64')
  const lsn = others['wal-lsn']
  return {
    id: String(messageId),
    lsn: lsn === undefined ? 0n : parseLsn(String(lsn)),
    ordinal: Number(others['wal-ordinal'] ?? -1),
    digest,
    replayId: replayId === undefined ? undefined : String(replayId),
  }
}

/** The first place where two lists of deliveries differ, or undefined. */
export function difference(got: readonly Seen[], expected: readonly Seen[]): string | undefined {
  const text = (seen: Seen | undefined) =>
    seen === undefined ? 'nothing' : `${seen.id} ${seen.lsn}#${seen.ordinal} ${seen.digest}`
  for (let n = 0; n < Math.max(got.length, expected.length); n++) {
    if (text(got[n]) !== text(expected[n])) {
      return `at ${n}: got ${text(got[n])}, expected ${text(expected[n])} (${got.length} of ${expected.length})`
    }
  }
  return undefined
}
