import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { BridgeProcess, runCommand } from '../support/bridge-process.ts'
import { FakeAmqpServer, type FakePublish } from '../support/fake-amqp-server.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { freshDatabase, uniqueName } from '../support/services.ts'

const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 1_000_000)

/** One broker with one queue, that refuses a share of the publishes: half with a nack, half with a return before the ack. */
async function moodyBroker(share: () => number) {
  const random = new SeededRandom(seed)
  const queue: { aggregate: string; n: number }[] = []
  const onPublish = (publish: FakePublish) => {
    const { connection, tag, body } = publish
    const { aggregate, n } = JSON.parse(body.toString())
    if (random.next() < share()) {
      if (random.next() < 0.5) return connection.nack(tag)
      connection.return(publish)
    } else queue.push({ aggregate, n })
    connection.ack(tag)
  }
  const broker = await FakeAmqpServer.start({ onPublish })
  onTestFinished(() => broker.close())
  return { broker, queue }
}

async function bridgeFor(broker: FakeAmqpServer, env: Record<string, string>) {
  const name = uniqueName('order').replaceAll('-', '_')
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const bridge = await BridgeProcess.create({
    WAL2RABBIT_SOURCE_URL: database.url,
    WAL2RABBIT_SINK_URL: broker.url,
    WAL2RABBIT_SOURCE_SLOT: name,
    WAL2RABBIT_DELIVERY_ORDER: 'aggregate',
    WAL2RABBIT_DELIVERY_RETRY_INITIAL_DELAY: '10ms',
    WAL2RABBIT_DELIVERY_RETRY_MAX_DELAY: '200ms',
    ...env,
  })
  const init = await runCommand(['init'], bridge.env)
  if (init.code !== 0) throw new Error(`init failed: ${init.stderr}`)
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  onTestFinished(async () => {
    await bridge.end('SIGKILL')
    await client.end()
  })
  return { bridge, client }
}

/** Events 1, 2, 3 … of each aggregate, interleaved, a few in a transaction. */
async function writeEvents(client: pg.Client, aggregates: number, each: number): Promise<void> {
  for (let n = 1; n <= each; n++)
    await client.query(
      `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
       SELECT 'order', 'a' || a, 'moved', jsonb_build_object('aggregate', 'a' || a, 'n', $2::int)
       FROM generate_series(1, $1) a ORDER BY random()`,
      [aggregates, n],
    )
}

/** Of each aggregate the numbers in the order in which they first came. */
function firstOccurrences(queue: readonly { aggregate: string; n: number }[]): Map<string, number[]> {
  const seen = new Map<string, number[]>()
  for (const { aggregate, n } of queue) {
    const numbers = seen.get(aggregate) ?? []
    seen.set(aggregate, numbers)
    if (!numbers.includes(n)) numbers.push(n)
  }
  return seen
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

test(`a fifth of the publishes nacked or returned: each aggregate arrives 1, 2, 3 … (seed ${seed})`, async () => {
  const { broker, queue } = await moodyBroker(() => 0.2)
  const { bridge, client } = await bridgeFor(broker, { WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '1000' })
  bridge.start()
  await writeEvents(client, 200, 40)
  await bridge.until(({ counters }) => counters.confirmed >= 8000, 60_000, 'all confirmed')
  const firsts = firstOccurrences(queue)
  expect(firsts.size).toBe(200)
  for (const numbers of firsts.values()) expect(numbers).toEqual(upTo(40))
  expect(queue).toHaveLength(8000)
})

test(`what follows a dead letter is parked behind it, also over a kill, and released in order (seed ${seed})`, async () => {
  let share = 0.2
  const { broker, queue } = await moodyBroker(() => share)
  const { bridge, client } = await bridgeFor(broker, {
    WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '2',
    WAL2RABBIT_DEAD_LETTER_SCOPE: 'aggregate',
  })
  bridge.start()
  await writeEvents(client, 100, 15)
  await bridge.end('SIGKILL')
  bridge.start()
  const settled = async () => {
    const { rows } = await client.query('SELECT count(*)::int AS parked FROM wal2rabbit.dead_letter')
    return Number(rows[0].parked) + [...firstOccurrences(queue).values()].flat().length
  }
  await expect.poll(settled, { timeout: 30_000 }).toBe(1500)
  const { rows: parked } = await client.query(
    "SELECT aggregate_id, array_agg((convert_from(body, 'UTF8')::json ->> 'n')::int ORDER BY commit_lsn, ordinal) AS n FROM wal2rabbit.dead_letter GROUP BY 1",
  )
  expect(parked.length).toBeGreaterThan(10)
  const arrived = firstOccurrences(queue)
  for (const { aggregate_id: aggregate, n } of parked)
    expect([...(arrived.get(aggregate) ?? []), ...n]).toEqual(upTo(15))

  share = 0
  const retry = await runCommand(['dead-letters', 'retry', '--all'], bridge.env)
  expect(retry.code, retry.stderr).toBe(0)
  const after = firstOccurrences(queue)
  expect(after.size).toBe(100)
  for (const numbers of after.values()) expect(numbers).toEqual(upTo(15))

  await client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
     SELECT 'order', 'a' || a, 'moved', jsonb_build_object('aggregate', 'a' || a, 'n', 16) FROM generate_series(1, 100) a`,
  )
  await expect.poll(() => [...firstOccurrences(queue).values()].flat().length, { timeout: 10_000 }).toBe(1600)
  const { rows: left } = await client.query('SELECT count(*)::int AS n FROM wal2rabbit.dead_letter')
  expect(left[0].n).toBe(0)
})
