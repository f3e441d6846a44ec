import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'
import { RewindStage } from './rewind-stage.ts'

/** Thirty with WAL2RABBIT_TEST_REWIND_KILLS=30. */
const kills = Number(process.env.WAL2RABBIT_TEST_REWIND_KILLS ?? 1)
/** From the moment at which it says what it will do; most are done within this. */
const killAfterMax_ms = 500

test(`a rewind killed ${kills} times at random, bridges in between and writers all the time: all comes again, in order`, async () => {
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 100_000)
  console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
  const random = new SeededRandom(seed)
  const scene = await RewindStage.create()
  const { stage, collector, database } = scene
  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  await scene.start()
  const load = runWorkload(
    {
      url: database.url,
      connections: 2,
      transactions: Number.POSITIVE_INFINITY,
      seed,
      pause: 100,
      signal: abort.signal,
    },
    ledger,
  )
  /** Stored LSNs of the past. */
  const candidates: string[] = []
  let killed = 0
  /** How many deliveries there were, and from where on the stream went, when the bridge was started last. */
  let [arrived, target] = [0, '0/0']
  const reached = new Set<string>()
  while (killed < kills) {
    candidates.push((await stage.positions()).stored)
    await scene.caughtUp(collector.deliveries.length + random.between(20, 200), 'the stream flows')
    expect(await stage.bridge.end('SIGTERM')).toBe(0)
    arrived += await scene.deliveredFrom(target)
    await scene.caughtUp(arrived, 'what was delivered is consumed')
    expect(collector.deliveries.length).toBe(arrived)
    // After a rewind the stream need not have come as far again.
    const stored = parseLsn((await stage.positions()).stored)
    const reachable = candidates.filter((lsn) => parseLsn(lsn) < stored)
    target = reachable[random.between(0, reachable.length - 1)]!
    for (let isDone = false; !isDone; ) {
      const last = killed >= kills
      const args = random.chance(0.5) || !(await isUnfinished()) ? ['--to', target] : ['--resume']
      const result = await scene.rewind(
        [...args, '--yes'],
        last ? {} : { killAfterNote: random.between(0, killAfterMax_ms) },
      )
      expect([0, null], result.stderr).toContain(result.code)
      isDone = result.code === 0
      if (isDone) break
      killed++
      reached.add(
        result.stderr
          .trim()
          .split('\n')
          .at(-1)!
          .replace(/ slot .*| to .*/, ''),
      )
      if ((await isUnfinished()) && random.chance(0.3)) await expectHalted()
    }
    await scene.start()
    await scene.caughtUp(arrived + 50, 'the stream begins at the target')
    const expected = await scene.from(target)
    const got = scene.arrivedFrom(arrived).slice(0, expected.length)
    expect(got).toEqual(expected.slice(0, got.length))
    expect(collector.deliveries.slice(0, arrived).some(({ id }) => id === collector.deliveries[arrived]!.id)).toBe(true)
    expect(await scene.straySlots()).toEqual([])
  }
  abort.abort()
  await load
  await collector.until(() => [...ledger.committed.keys()].every((id) => collector.ids.has(id)), 120_000, 'the rest')
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  const all = await scene.from('0/0')
  expect(collector.firstDeliveries().map(({ id, commitLsn, ordinal }) => `${id} ${commitLsn}#${ordinal}`)).toEqual(all)
  console.info(
    `${killed} kills after: ${[...reached].sort().join('; ')}; ${all.length} events, ${collector.deliveries.length} deliveries`,
  )

  async function isUnfinished(): Promise<boolean> {
    return (await stage.query('SELECT FROM wal2rabbit.rewind')).length > 0
  }

  /** A bridge that is started meanwhile changes nothing and publishes nothing. */
  async function expectHalted(): Promise<void> {
    const before = [await scene.bookkeeping(), collector.deliveries.length]
    stage.bridge.start()
    const { reason } = await stage.bridge.until(({ state }) => state === 'halted', 60_000, 'halted')
    expect(reason?.code).toBe('REWIND_UNFINISHED')
    expect(await stage.bridge.end('SIGTERM')).toBe(3)
    expect([await scene.bookkeeping(), collector.deliveries.length]).toEqual(before)
  }
}, 1_800_000)
