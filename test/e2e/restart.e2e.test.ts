import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../support/length.ts'
import { type PostgresService, type RabbitService, startPostgres, startRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { countRepeats, verifyContents, verifyDeliveries } from '../support/verify.ts'
import { Witness } from '../support/witness.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

async function underLoad(seed: number, disturb: (postgres: PostgresService, rabbit: RabbitService) => Promise<void>) {
  const postgres = await startPostgres()
  onTestFinished(() => postgres.dispose())
  const rabbit = await startRabbit()
  onTestFinished(() => rabbit.dispose())
  const stage = await Stage.create({ databaseUrl: postgres.url, amqpUrl: rabbit.url })
  onTestFinished(() => stage.dispose())
  const witness = await Witness.create(postgres.url, `${stage.name}_w`, 'wal2rabbit')
  const collector = await stage.collector()
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  const { pid } = stage.bridge
  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const load = runWorkload(
    { url: postgres.url, connections: 4, transactions: Number.POSITIVE_INFINITY, seed, pause: 5, signal: abort.signal },
    ledger,
  )
  await collector.until(() => collector.ids.size > 500, 30_000, 'the load')
  await disturb(postgres, rabbit)
  const reached = collector.ids.size
  await collector.until(() => collector.ids.size > reached + 500, 60_000, 'events after the disturbance')
  abort.abort()
  await load
  await collector.until(() => [...ledger.committed.keys()].every((id) => collector.ids.has(id)), 60_000, 'the rest')
  await stage.bridge.until((status) => status.state === 'streaming' && status.window.messages === 0)
  expect(stage.bridge.pid, 'the bridge was not restarted').toBe(pid)
  const status = await stage.bridge.status()
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  verifyDeliveries(collector, ledger, await witness.read())
  verifyContents(collector, ledger)
  return { stage, collector, status: status!, repeats: countRepeats(collector) }
}

test.runIf(isLong)(
  'a restart of RabbitMQ under load: nothing lost, in order, by the same process',
  async () => {
    const { status, repeats } = await underLoad(41, async (_postgres, rabbit) => {
      await rabbit.restart()
    })
    expect(status.counters.reconnects.sink).toBeGreaterThan(0)
    expect(status.counters.reconnects.source, 'the source stays attached').toBe(0)
    expect(repeats).toBeLessThanOrEqual(2000)
  },
  240_000,
)

test('a kill -9 of RabbitMQ under load: nothing lost, in order', async () => {
  const { repeats } = await underLoad(42, async (_postgres, rabbit) => {
    await rabbit.kill()
    await rabbit.start()
  })
  expect(repeats).toBeLessThanOrEqual(2000)
}, 240_000)

test('a crash of PostgreSQL under load: nothing lost, in order, also what was in doubt', async () => {
  const { status, repeats } = await underLoad(43, async (postgres) => {
    await postgres.kill()
    await postgres.start()
  })
  expect(status.counters.reconnects.source).toBeGreaterThan(0)
  expect(repeats).toBeLessThanOrEqual(4000)
}, 240_000)

test.runIf(isLong)(
  'a fast restart of PostgreSQL under load is not held up',
  async () => {
    let took = 0
    await underLoad(44, async (postgres) => {
      const begun = performance.now()
      await postgres.stop('fast')
      took = performance.now() - begun
      await postgres.start()
    })
    expect(took, 'milliseconds of the fast shutdown').toBeLessThan(5000)
  },
  240_000,
)
