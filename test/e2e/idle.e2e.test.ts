import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { sharedRabbit, startPostgres } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

test('with an idle outbox and a busy database the slot follows, an idle database stays quiet, a shutdown is not held up', async () => {
  const postgres = await startPostgres()
  onTestFinished(() => postgres.dispose())
  const stage = await Stage.create({ databaseUrl: postgres.url, amqpUrl: sharedRabbit().url })
  onTestFinished(() => stage.dispose())
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')

  // Busy with other tables: the slot follows within seconds.
  await stage.query('CREATE TABLE other (n int, t text)')
  await stage.query(`INSERT INTO other SELECT n, repeat('x', 500) FROM generate_series(1, 40000) n`)
  const [wal] = await stage.query('SELECT pg_current_wal_lsn()::text AS lsn')
  const target = parseLsn(String(wal?.lsn))
  const begun = performance.now()
  await expect
    .poll(async () => parseLsn((await stage.positions()).confirmedFlush) >= target, { timeout: 15_000, interval: 100 })
    .toBe(true)
  const seconds = (performance.now() - begun) / 1000
  console.info(`the slot followed 20 MB of foreign WAL in ${seconds.toFixed(1)} s`)
  const { stored, confirmedFlush } = await stage.positions()
  expect(parseLsn(confirmedFlush) <= parseLsn(stored)).toBe(true)

  // Idle altogether: our own bookkeeping must not keep itself going. A store takes place every 5 s at most, so 12 s show two.
  await stage.query('CHECKPOINT')
  const settle = async () => (await stage.query(`SELECT version::int AS v FROM wal2rabbit.checkpoint`))[0]!.v as number
  await new Promise((resolve) => setTimeout(resolve, 6000))
  const before = await settle()
  await new Promise((resolve) => setTimeout(resolve, 12_000))
  expect((await settle()) - before, 'stores while everything is idle').toBeLessThanOrEqual(1)

  const stopping = performance.now()
  await postgres.stop('fast')
  const took = performance.now() - stopping
  console.info(`fast shutdown of PostgreSQL took ${Math.round(took)} ms with the bridge attached`)
  expect(took).toBeLessThan(3000)
  await stage.bridge.until((status) => status.state === 'retrying')
  await postgres.start()
  await stage.bridge.until((status) => status.state === 'streaming')
}, 120_000)
