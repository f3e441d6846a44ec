import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { runCommand } from '../support/bridge-process.ts'
import { difference, ReplayWatch, type Seen } from '../support/replay-watch.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

/** WAL2RABBIT_TEST_REPLAY_EVENTS=500000 for the whole of it: then each tenth stored LSN is replayed, otherwise three. */
const events = Number(process.env.WAL2RABBIT_TEST_REPLAY_EVENTS ?? 4000)
const leastStored = 6

test(`replays from stored LSNs of a history of ${events} events give what committed after each, beside a live load`, async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const { url } = sharedRabbit()
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: url,
    env: { WAL2RABBIT_CHECKPOINT_HISTORY_INTERVAL: '1s' },
  })
  onTestFinished(() => stage.dispose())
  const live = await ReplayWatch.bind(url, stage.name, `${stage.name}_live`)
  onTestFinished(() => live.close())
  stage.bridge.start()
  await stage.bridge.until(({ state, replayWindow }) => state === 'streaming' && replayWindow?.anchors.length === 1)

  const ledger = emptyLedger()
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const write = (transactions: number, pause?: number) =>
    runWorkload(
      {
        url: database.url,
        connections: 4,
        transactions,
        seed: transactions % 97,
        ...(pause !== undefined && { pause }),
        signal: abort.signal,
      },
      ledger,
    )
  const replayable = async () => {
    const listed = await runCommand(['checkpoints', '--json', '--limit', '100000'], stage.bridge.env)
    const entries = JSON.parse(listed.stdout) as { lsn: string; replayable: string[] }[]
    return entries.filter((entry) => entry.replayable.includes('wal')).reverse()
  }
  while (ledger.committed.size < events) await write(200)
  // A fast machine writes all of them before a few LSNs were stored.
  while ((await replayable()).length < leastStored) await write(20, 60)
  await live.until(ledger.committed.size, 120_000)

  const load = write(Number.POSITIVE_INFINITY, 60)
  const usable = await replayable()
  const step = events > 100_000 ? 10 : Math.floor(usable.length / 3)
  const chosen = usable.filter((_, n) => n % step === 0)
  for (const [n, { lsn }] of chosen.entries()) {
    const exchange = `${stage.name}_r${n}`
    const watch = await ReplayWatch.bind(url, exchange, exchange)
    const result = await runCommand(['replay', '--from', lsn, '--exchange', exchange, '--json'], stage.bridge.env, {
      ownProcess: true,
    })
    expect(result.stderr).toContain('source wal')
    expect(result.code, result.stderr).toBe(0)
    const { id, eventsPublished, toLsn, toRows, rowsMatched } = JSON.parse(result.stdout)
    await watch.until(eventsPublished, 30_000)
    const to = parseLsn(toLsn)
    // The live stream delivers what is above; all below its stored LSN has arrived or is about to.
    const isBelow = (seen: Seen) => seen.lsn < to || (seen.lsn === to && seen.ordinal < toRows)
    const expected = () => live.seen.filter((seen) => seen.lsn >= parseLsn(lsn) && isBelow(seen))
    const isThere = () => live.seen.length > 0 && !isBelow(live.seen.at(-1)!)
    await live.untilHolds(isThere, 30_000, `live deliveries up to ${to}`)
    expect(difference(watch.seen, expected()), `replay from ${lsn}`).toBeUndefined()
    expect(rowsMatched).toBe(eventsPublished)
    expect(new Set(watch.seen.map((seen) => seen.replayId))).toEqual(new Set(watch.seen.length === 0 ? [] : [id]))
    await watch.close()
    await stage.withChannel(async (channel) => void (await channel.deleteExchange(exchange)))
  }
  abort.abort()
  await load
  await live.until(ledger.committed.size, 60_000)

  // G9: the live stream knows of none of it.
  expect(live.seen.every(({ replayId }) => replayId === undefined)).toBe(true)
  expect(live.seen.length).toBe(ledger.committed.size + [...ledger.unknown.keys()].length)
  expect(live.seen.every(({ id }) => ledger.committed.has(id) || ledger.unknown.has(id))).toBe(true)
  const inOrder = live.seen.every(
    (seen, n) =>
      n === 0 ||
      seen.lsn > live.seen[n - 1]!.lsn ||
      (seen.lsn === live.seen[n - 1]!.lsn && seen.ordinal === live.seen[n - 1]!.ordinal + 1),
  )
  expect(inOrder).toBe(true)
  const slots = await stage.query('SELECT slot_name FROM pg_replication_slots WHERE starts_with(slot_name, $1)', [
    stage.name,
  ])
  expect(
    slots.map(({ slot_name: name }) => String(name)).filter((name) => !/^stage_[0-9a-f]+(_anchor_\d+)?$/.test(name)),
  ).toEqual([])
  console.info(`${ledger.committed.size} events, ${chosen.length} replays of ${usable.length} stored LSNs`)
}, 3_600_000)
