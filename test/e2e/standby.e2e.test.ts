import { expect, onTestFinished, test } from 'vitest'
import { BridgeProcess } from '../support/bridge-process.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { verifyDeliveries } from '../support/verify.ts'
import { Witness } from '../support/witness.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

test('a second bridge on the slot stands by, ready, and takes over when the active one is killed', async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url })
  onTestFinished(() => stage.dispose())
  const witness = await Witness.create(database.url, `${stage.name}_w`, 'wal2rabbit')
  const collector = await stage.collector()
  const { WAL2RABBIT_ADMIN_PORT: _port, ...env } = stage.bridge.env
  const second = await BridgeProcess.create(env)
  onTestFinished(async () => void (await second.end('SIGKILL')))
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  second.start()
  await second.until((status) => status.state === 'standby')
  expect((await fetch(`${second.url}/readyz`)).status).toBe(200)

  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const load = runWorkload(
    {
      url: database.url,
      connections: 2,
      transactions: Number.POSITIVE_INFINITY,
      seed: 7,
      pause: 5,
      signal: abort.signal,
    },
    ledger,
  )
  await collector.until(() => collector.ids.size > 300, 20_000, 'the load')
  const killed = performance.now()
  await stage.bridge.end('SIGKILL')
  await second.until((status) => status.state === 'streaming', 20_000)
  console.info(`took over in ${Math.round(performance.now() - killed)} ms`)
  const reached = collector.ids.size
  await collector.until(() => collector.ids.size > reached + 300, 20_000, 'events of the second bridge')
  abort.abort()
  await load
  await collector.until(() => [...ledger.committed.keys()].every((id) => collector.ids.has(id)), 30_000, 'the rest')
  verifyDeliveries(collector, ledger, await witness.read())
  expect(await second.end('SIGTERM')).toBe(0)
})
