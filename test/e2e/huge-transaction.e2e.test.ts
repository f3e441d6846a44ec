import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../support/length.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

const rows = Number(process.env.WAL2RABBIT_TEST_HUGE_ROWS ?? (isLong ? 300_000 : 60_000))
/** The budget is 120 MB, measured by the benchmark. Here: the process does not grow with the rows, also on a busy machine. */
const limitMb = 160

test(`one transaction of ${rows} rows: flat memory, and a kill in its middle resumes there`, async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
  })
  onTestFinished(() => stage.dispose())
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  const startRss = await rssMb(stage)
  await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
     SELECT 'order', n::text, 'Bulk', jsonb_build_object('n', n, 'text', repeat('x', 150)) FROM generate_series(1, $1) n`,
    [rows],
  )
  await stage.bridge.until((status) => status.counters.confirmed > rows / 2, 120_000, 'half of the transaction')
  const halfRss = await rssMb(stage)
  await stage.bridge.end('SIGKILL')
  const [row] = await stage.query('SELECT partial_rows::int AS rows FROM wal2rabbit.checkpoint WHERE slot = $1', [
    stage.name,
  ])
  const storedRows = Number(row?.rows)
  expect(storedRows).toBeGreaterThan(rows / 3)

  stage.bridge.start()
  let peak = 0
  await stage.bridge.until((status) => status.state === 'streaming')
  const sampler = setInterval(async () => {
    peak = Math.max(peak, await rssMb(stage))
  }, 500)
  onTestFinished(() => clearInterval(sampler))
  const done = await stage.bridge.until(
    (status) => status.counters.confirmed >= rows - storedRows && status.window.messages === 0,
    180_000,
    'the rest of the transaction',
  )
  clearInterval(sampler)
  // It resumed in the middle: no more was published than what was not stored.
  expect(done.counters.published).toBe(rows - storedRows)
  const queued = await stage.withChannel((channel) => channel.checkQueue(stage.name))
  const repeats = queued.messageCount - rows
  console.info(
    `${rows} rows: RSS ${startRss} MB at start, ${halfRss} MB at half, at most ${peak} MB in the second run; ` +
      `resumed after row ${storedRows}, ${repeats} repeats`,
  )
  expect(repeats).toBeGreaterThanOrEqual(0)
  expect(repeats).toBeLessThan(30_000)
  expect(Math.max(halfRss, peak)).toBeLessThanOrEqual(limitMb)
}, 400_000)

async function rssMb(stage: Stage): Promise<number> {
  const metrics = await (await fetch(`${stage.bridge.url}/metrics`)).text()
  return Math.round(Number(/^process_resident_memory_bytes (\S+)/m.exec(metrics)![1]) / 1024 / 1024)
}
