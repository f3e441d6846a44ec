import amqp from 'amqplib'
import pg from 'pg'
import { BridgeRun } from './bridge-run.ts'
import { Broker, exchange } from './broker.ts'
import { eventPool, poolSize } from './events.ts'
import type { QueueType } from './options.ts'
import { commitTimed, pace, Stopwatch } from './paced-load.ts'
import type { Servers } from './servers.ts'

/** Milliseconds until the consumer had the message, one for each. */
export interface Latency {
  readonly queue: QueueType
  /** From publish(). */
  readonly direct_ms: readonly number[]
  /** From the moment at which COMMIT returned in the writer. */
  readonly bridge_ms: readonly number[]
}

/** Each side takes its turn so often. */
const turns = 3
const writers = 4

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
  const commit = (id: string, n: number) => commitTimed(pool, stopwatch, id, n)
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
