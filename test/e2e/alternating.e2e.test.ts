import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { BridgeProcess } from '../support/bridge-process.ts'
import { isLong } from '../support/length.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { countRepeats, verifyContents, verifyDeliveries } from '../support/verify.ts'
import { Witness, type WitnessedRow } from '../support/witness.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

const faults = isLong ? 20 : 8

/**
 * The moments at which windows that are kept, stores in doubt and claims meet: connections are cut on either side while
 * two bridges want the slot.
 */
test('two bridges on one slot whose connections are cut: nothing lost, in order, never ahead, nobody halts', async () => {
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 100_000)
  console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
  const random = new SeededRandom(seed)
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const broker = await startTcpProxy(sharedRabbit().url)
  onTestFinished(() => broker.close())
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
    env: {
      WAL2RABBIT_SINK_URL: broker.urlFor(sharedRabbit().url),
      WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES: '300',
      WAL2RABBIT_CHECKPOINT_INTERVAL: '50ms',
    },
  })
  onTestFinished(() => stage.dispose())
  const { WAL2RABBIT_ADMIN_PORT: _port, ...env } = stage.bridge.env
  const second = await BridgeProcess.create(env)
  onTestFinished(async () => void (await second.end('SIGKILL')))
  const bridges = [stage.bridge, second]
  const witness = await Witness.create(database.url, `${stage.name}_w`, 'wal2rabbit')
  const collector = await stage.collector()
  const witnessed: WitnessedRow[] = []
  for (const bridge of bridges) bridge.start()

  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const load = runWorkload(
    { url: database.url, connections: 3, transactions: Number.POSITIVE_INFINITY, seed, pause: 4, signal: abort.signal },
    ledger,
  )
  const cut = (application: string) =>
    stage.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE $2',
      [database.name, application],
    )
  const acts: (() => Promise<unknown>)[] = [
    () => cut('wal2rabbit'),
    () => cut('wal2rabbit checkpoint'),
    () => cut('wal2rabbit%'),
    async () => broker.reset(),
    async () => {
      broker.reset()
      await cut('wal2rabbit%')
    },
    async () => {
      const bridge = bridges[random.between(0, 1)]!
      bridge.signal('SIGSTOP')
      await cut('wal2rabbit%')
      await new Promise((resolve) => setTimeout(resolve, random.between(100, 1500)))
      bridge.signal('SIGCONT')
    },
  ]
  /** Until one bridge streams and, if asked for, the other stands by: halted is neither at any time. */
  const streaming = async (calm = false) => {
    for (;;) {
      const all = await Promise.all(bridges.map((bridge) => bridge.status()))
      for (const status of all) expect(status?.state, status?.reason?.message).not.toBe('halted')
      const states = all.map((status) => status?.state)
      if (states.includes('streaming') && (!calm || states.includes('standby'))) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  for (let fault = 0; fault < faults; fault++) {
    await streaming()
    await new Promise((resolve) => setTimeout(resolve, random.between(0, 400)))
    await acts[random.between(0, acts.length - 1)]!()
    // The slot first: the row may only be further.
    const [slot] = await stage.query(
      'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1',
      [stage.name],
    )
    const { stored } = await stage.positions()
    expect(parseLsn(String(slot?.lsn)) <= parseLsn(stored), `acknowledged ${slot?.lsn}, stored ${stored}`).toBe(true)
    witnessed.push(...(await witness.read()))
  }
  abort.abort()
  await load
  await collector.until(() => [...ledger.committed.keys()].every((id) => collector.ids.has(id)), 60_000, 'the rest')
  // One that is still looking for its connection could not store what it has settled, and says so when it is stopped.
  await streaming(true)
  for (const bridge of bridges) expect(await bridge.end('SIGTERM'), bridge.log.slice(-2000)).toBe(0)
  witnessed.push(...(await witness.read()))
  verifyDeliveries(collector, ledger, witnessed)
  verifyContents(collector, ledger)
  console.info(`${ledger.committed.size} events, ${faults} faults, ${countRepeats(collector)} repeats`)
}, 300_000)
