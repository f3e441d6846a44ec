import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { isLong } from '../support/length.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { countRepeats, missingBelow, verifyContents, verifyDeliveries } from '../support/verify.ts'
import { Witness, type WitnessedRow } from '../support/witness.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

/** Two hundred are in the fault matrix: npm run faults -- --row F11. */
const kills = isLong ? 15 : 5
const windowMessages = 500
const storeIntervalMs = 200

test(`kill -9 at ${kills} random moments under load: nothing lost, in order, few repeats, stored never ahead`, async () => {
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 100_000)
  console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
  const random = new SeededRandom(seed)
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
    env: {
      WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES: String(windowMessages),
      WAL2RABBIT_CHECKPOINT_INTERVAL: `${storeIntervalMs}ms`,
    },
  })
  onTestFinished(() => stage.dispose())
  const witness = await Witness.create(database.url, `${stage.name}_w`, 'wal2rabbit')
  const collector = await stage.collector()
  const witnessed: WitnessedRow[] = []

  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const load = runWorkload(
    { url: database.url, connections: 4, transactions: Number.POSITIVE_INFINITY, seed, pause: 4, signal: abort.signal },
    ledger,
  )
  let settledAtLastKill = 0
  let repeatsAllowed = 0
  for (let kill = 0; kill < kills; kill++) {
    stage.bridge.start()
    // Some are killed while they start, most while they stream.
    if (random.chance(0.8)) await stage.bridge.until((status) => status.state === 'streaming')
    await new Promise((resolve) => setTimeout(resolve, random.between(0, 400)))
    const before = await stage.bridge.status()
    await stage.bridge.end('SIGKILL')

    // With the bridge down: every event at or below the stored position is in the queue.
    const [row] = await stage.query(
      `SELECT lsn::text AS lsn, partial_commit_lsn::text AS partial_lsn, partial_rows::int AS partial_rows, events::int AS events
       FROM wal2rabbit.checkpoint WHERE slot = $1`,
      [stage.name],
    )
    const partial =
      row?.partial_lsn == null ? null : { commitLsn: parseLsn(String(row.partial_lsn)), rows: Number(row.partial_rows) }
    const stored = { lsn: parseLsn(String(row?.lsn)), partial }
    witnessed.push(...(await witness.read()))
    const covered = () => missingBelow(witnessed, collector.ids, stored).length === 0
    await collector.until(covered, 20_000, `kill ${kill}: all that is stored is in the queue`)
    const { confirmedFlush } = await stage.positions()
    expect(parseLsn(confirmedFlush) <= stored.lsn, `kill ${kill}: acknowledged ${confirmedFlush} above stored`).toBe(
      true,
    )
    // G5: at most what was published and not yet stored.
    const published = before?.counters.published ?? 0
    const storedThisRun = Number(row?.events) - settledAtLastKill
    settledAtLastKill = Number(row?.events)
    repeatsAllowed += Math.max(0, published - storedThisRun) + windowMessages * 4
  }
  abort.abort()
  await load
  stage.bridge.start()
  await collector.until(() => [...ledger.committed.keys()].every((id) => collector.ids.has(id)), 60_000, 'the rest')
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  witnessed.push(...(await witness.read()))

  verifyDeliveries(collector, ledger, witnessed)
  verifyContents(collector, ledger)
  const repeats = countRepeats(collector)
  console.info(
    `${ledger.committed.size} events, ${kills} kills, ${repeats} repeats (${Math.round(repeats / kills)} a kill)`,
  )
  expect(repeats).toBeLessThanOrEqual(repeatsAllowed)
}, 300_000)
