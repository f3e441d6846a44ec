import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import amqp from 'amqplib'
import pg from 'pg'
import { BridgeRun } from './bridge-run.ts'
import { Broker, exchange } from './broker.ts'
import { eventPool, poolSize } from './events.ts'
import type { QueueType } from './options.ts'
import type { Servers } from './servers.ts'

/** Milliseconds until the consumer had the message, one for each. */
export interface Latency {
  readonly queue: QueueType
  /** From publish(). */
  readonly direct_ms: readonly number[]
  /** From the moment at which COMMIT returned in the writer. */
  readonly bridge_ms: readonly number[]
}

export const rate_perSecond = 500
/** Each side takes its turn so often. */
const turns = 3
/** The first of each turn are not kept. */
const uncounted_seconds = 0.5
const writers = 4
const arrivalBound_ms = 30_000

/** Starts the clock of one event under its id; the consumer stops it. */
class Stopwatch {
  readonly #startedAt = new Map<string, number>()
  readonly #arrivedAt = new Map<string, number>()
  #onArrival: () => void = () => {}

  started(id: string): void {
    this.#startedAt.set(id, performance.now())
  }

  arrived(id: string, at: number): void {
    this.#arrivedAt.set(id, at)
    this.#onArrival()
  }

  /** The times of all `ids`, once they have arrived. One may have arrived before its COMMIT returned: below zero. */
  async times(ids: readonly string[]): Promise<number[]> {
    const deadline = performance.now() + arrivalBound_ms
    while (!ids.every((id) => this.#arrivedAt.has(id))) {
      if (performance.now() > deadline) throw new Error(`events missing ${arrivalBound_ms} ms after the last was sent`)
      const arrival = new Promise<void>((resolve) => {
        this.#onArrival = resolve
      })
      await Promise.race([arrival, delay(100)])
    }
    const times = ids.map((id) => this.#arrivedAt.get(id)! - this.#startedAt.get(id)!)
    this.#startedAt.clear()
    this.#arrivedAt.clear()
    return times
  }
}

/** Latency at 500 events a second, both sides in turn; writer, publisher and consumer share this process and its clock. */
export async function measureLatency(seconds: number, queue: QueueType, servers: Servers): Promise<Latency> {
  const { postgresUrl, rabbitUrl, broker } = servers
  await servers.client.query('TRUNCATE public.outbox')
  await broker.freshQueue(queue)
  const stopwatch = new Stopwatch()
  const consumer = await Broker.connect(rabbitUrl)
  await consumer.listen(queue, (id, at) => stopwatch.arrived(id, at))
  const publisher = await amqp.connect(rabbitUrl, { noDelay: true })
  const channel = await publisher.createConfirmChannel()
  const pool = new pg.Pool({ connectionString: postgresUrl, max: writers })
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  const publish = (id: string, n: number): Promise<void> => {
    const { body, routingKey, properties } = messageOf(id, n)
    stopwatch.started(id)
    return new Promise((resolve, reject) => {
      channel.publish(exchange, routingKey, body, properties, (error) => (error === null ? resolve() : reject(error)))
    })
  }
  const commit = async (id: string, n: number): Promise<void> => {
    await pool.query({ ...insert, values: [id, n % poolSize] })
    stopwatch.started(id)
  }
  const direct_ms: number[] = []
  const bridge_ms: number[] = []
  try {
    await bridge.during(bridge.untilStreaming(), 60_000)
    for (let turn = 0; turn < turns; turn++) {
      direct_ms.push(...(await stopwatch.times(await pace(seconds / turns, publish))))
      bridge_ms.push(
        ...(await bridge.during(
          pace(seconds / turns, commit).then((ids) => stopwatch.times(ids)),
          120_000,
        )),
      )
    }
  } finally {
    await bridge.stop()
    await pool.end()
    await publisher.close()
    await consumer.close()
  }
  return { queue, direct_ms, bridge_ms }
}

/** Sends at the rate for so long and gives the ids that count, once every send has been answered. */
async function pace(seconds: number, send: (id: string, n: number) => Promise<void>): Promise<string[]> {
  const ids: string[] = []
  const answers: Promise<void>[] = []
  const startedAt = performance.now()
  const total = Math.round((seconds + uncounted_seconds) * rate_perSecond)
  while (ids.length < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1000) * rate_perSecond))
    while (ids.length < due) {
      const id = randomUUID()
      answers.push(send(id, ids.length))
      ids.push(id)
    }
    await delay(1)
  }
  await Promise.all(answers)
  return ids.slice(Math.round(uncounted_seconds * rate_perSecond))
}

const insert = {
  name: 'bench_insert',
  text: `INSERT INTO public.outbox (id, aggregate_type, aggregate_id, type, payload)
    SELECT $1, 'order', aggregate_id, 'OrderPlaced', payload FROM bench_pool WHERE n = $2`,
}

function messageOf(id: string, n: number) {
  const event = eventPool[n % poolSize]!
  return {
    routingKey: `${event.aggregateType}.${event.type}`,
    body: Buffer.from(event.body),
    properties: {
      messageId: id,
      type: event.type,
      contentType: 'application/json',
      timestamp: Math.floor(Date.now() / 1000),
      appId: 'wal2rabbit',
      persistent: true,
      mandatory: true,
      headers: {
        aggregate_type: event.aggregateType,
        aggregate_id: event.aggregateId,
        'wal-lsn': '16/B374D848',
        'wal-ordinal': 0,
        'wal-committed-at': '2026-01-31T23:59:59.123456Z',
      },
    },
  }
}
