import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Status } from '../../src/admin/status.ts'
import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { BridgeProcess, runCommand } from '../support/bridge-process.ts'
import { isLong } from '../support/length.ts'
import { difference, ReplayWatch } from '../support/replay-watch.ts'
import { type PostgresService, startPostgres, uniqueName } from '../support/services.ts'
import type { Stage } from '../support/stage.ts'
import {
  anchorStage,
  anchorsOf,
  dropStage,
  eventually,
  insertEvents,
  slotsOf,
  startToDie,
  writeWal,
} from './anchor-stage.ts'

const MiB = 1024 * 1024
/** Large enough that as fast as one connection writes the window is whole: below that the bound comes first. */
const bytes = 64 * MiB

let server: PostgresService

beforeAll(async () => {
  server = await startPostgres()
})

afterAll(() => server.dispose())

async function newStage(env: Record<string, string> = {}): Promise<Stage> {
  const stage = await anchorStage(server, { WAL2RABBIT_REPLAY_WINDOW_BYTES: String(bytes), ...env })
  onTestFinished(() => dropStage(stage))
  return stage
}

const firstAnchor = (stage: Stage) =>
  stage.bridge.until((status) => status.replayWindow?.anchors.length === 1, 20_000, 'the first anchor')

test('anchors are made and rotated within the bound while WAL is written, and adopted after a restart', async () => {
  const stage = await newStage()
  const { bridge } = stage
  bridge.start()
  await firstAnchor(stage)
  const collector = await stage.collector()
  const live = await ReplayWatch.bind(stage.options.amqpUrl, stage.name, `${stage.name}_live`)
  onTestFinished(() => live.close())
  const seen = new Set<string>()
  while (seen.size < 6) {
    await writeWal(stage, 2)
    await insertEvents(stage, 5)
    const anchors = await anchorsOf(stage)
    for (const { name } of anchors) seen.add(name)
    expect(anchors.length).toBeLessThanOrEqual(3)
    expect(Math.max(...anchors.map(({ retained }) => retained))).toBeLessThanOrEqual(2 * bytes)
  }
  const written = Number((await stage.query('SELECT count(*)::int AS n FROM outbox'))[0]!.n)
  await collector.until(() => collector.ids.size === written, 20_000, 'all events')
  const isWhole = (window: Status['replayWindow']) => (window?.bytes ?? 0) >= bytes && window?.degraded === null
  let { replayWindow } = await bridge.until((status) => status.replayWindow !== null)
  // An anchor may have gone early, on a busy machine: what is written next makes up for it.
  while (!isWhole(replayWindow)) {
    await writeWal(stage, 1)
    replayWindow = (await bridge.status())?.replayWindow ?? null
  }
  expect(replayWindow).toMatchObject({
    reachesBackTo: replayWindow!.anchors[0]!.lsn,
    reachesBackToTime: expect.stringMatching(/Z$/),
    degraded: null,
  })
  expect(replayWindow!.retainedBytes).toBeLessThanOrEqual(2 * bytes)
  expect(bridge.log).toMatch(/"because":"covered".*anchor slot dropped/)

  // From the first anchor, between the two, and from the second: all that committed there or later, and nothing else.
  const [first, second] = replayWindow!.anchors.map(({ lsn }) => parseLsn(lsn!))
  for (const from of [first!, (first! + second!) / 2n, second!]) {
    const exchange = uniqueName('between')
    const watch = await ReplayWatch.bind(stage.options.amqpUrl, exchange, exchange)
    onTestFinished(() => watch.close())
    const result = await runCommand(
      ['replay', '--from', formatLsn(from), '--source', 'wal', '--exchange', exchange, '--json'],
      bridge.env,
    )
    expect(result.code, result.stderr).toBe(0)
    const { eventsPublished, toLsn } = JSON.parse(result.stdout)
    await watch.until(eventsPublished, 10_000)
    const expected = live.seen.filter(({ lsn }) => lsn >= from && lsn < parseLsn(toLsn))
    expect(expected.length).toBeGreaterThan(0)
    expect(difference(watch.seen, expected), formatLsn(from)).toBeUndefined()
    await stage.withChannel(async (channel) => void (await channel.deleteExchange(exchange)))
  }

  const before = await slotsOf(stage)
  expect(await bridge.end('SIGTERM')).toBe(0)
  bridge.start()
  await bridge.until((status) => status.replayWindow !== null)
  await writeWal(stage, 1)
  await bridge.until((status) => (status.replayWindow?.bytes ?? 0) > replayWindow!.bytes!)
  const after = await slotsOf(stage)
  // The next turn may just have been due.
  expect(before.filter((name) => !after.includes(name)).length).toBeLessThanOrEqual(1)
}, 120_000)

test('0 removes the anchors that are left, and the stream goes on', async () => {
  const stage = await newStage()
  const { bridge } = stage
  bridge.start()
  await firstAnchor(stage)
  await bridge.end('SIGTERM')
  expect(await anchorsOf(stage)).toHaveLength(1)
  bridge.start([], { WAL2RABBIT_REPLAY_WINDOW: '0', WAL2RABBIT_REPLAY_WINDOW_BYTES: '0' })
  const status = await bridge.until(({ replayWindow }) => replayWindow?.anchors.length === 0)
  expect(await slotsOf(stage)).toEqual([stage.name])
  expect(status.replayWindow).toMatchObject({ retainedBytes: 0, degraded: null })
  const collector = await stage.collector()
  const ids = await insertEvents(stage, 3)
  await collector.until(() => ids.every((id) => collector.ids.has(id)), 20_000, 'events')
})

test('an anchor that somebody dropped is made anew, and the loss is told', async () => {
  const stage = await newStage()
  const { bridge } = stage
  bridge.start()
  const name = (await firstAnchor(stage)).replayWindow!.anchors[0]!.name
  await stage.query('SELECT pg_drop_replication_slot($1)', [name])
  // Within the same second the new one has the same name.
  const status = await bridge.until(
    ({ replayWindow }) => replayWindow?.anchors.length === 1 && replayWindow.degraded !== null,
  )
  expect(status).toMatchObject({
    state: 'streaming',
    replayWindow: { degraded: `somebody else dropped ${name}` },
  })
  expect(bridge.log).toMatch(new RegExp(`"anchor":"${name}","msg":"anchor slot dropped by somebody else"`))
  expect(bridge.log.match(/anchor slot made/g)).toHaveLength(2)
  const metrics = await (await fetch(`${bridge.url}/metrics`)).text()
  expect(metrics).toMatch(/^wal2rabbit_replay_window_degraded 1$/m)
})

test.each(['anchor-dropped:1', ...(isLong ? ['anchor-created:1', 'anchor-created:3', 'anchor-dropped:2'] : [])])(
  'killed at %s, the next start leaves no stray slot and goes on with the anchors',
  async (failPoint) => {
    const stage = await newStage()
    const { bridge } = stage
    startToDie(bridge, failPoint)
    await eventually(
      async () => {
        await writeWal(stage, 2).catch((error: unknown) => {
          throw new Error('the server refuses WAL', { cause: error })
        })
        return bridge.isRunning ? undefined : true
      },
      `dying at ${failPoint}`,
      60_000,
    )
    expect(await bridge.exited()).toEqual({ code: null, signal: 'SIGKILL' })

    bridge.start()
    await bridge.until((status) => (status.replayWindow?.anchors.length ?? 0) > 0)
    for (let round = 0; round < 10; round++) {
      await writeWal(stage, 4)
      const slots = await slotsOf(stage)
      const strays = slots.filter((name) => name !== stage.name && !/_anchor_\d{14}$/.test(name))
      // One in the making of a snapshot, for a moment.
      expect(strays.filter((name) => !/^wal2rabbit_snapshot_/.test(name))).toEqual([])
      expect(slots.filter((name) => /_anchor_/.test(name)).length).toBeLessThanOrEqual(3)
    }
    // An anchor that had to go early is made up for by what is written next.
    await eventually(
      async () => {
        await writeWal(stage, 2)
        const window = (await bridge.status())?.replayWindow
        return (window?.bytes ?? 0) >= bytes && window?.degraded === null ? true : undefined
      },
      'the whole window',
      60_000,
    )
    await bridge.end('SIGKILL')
    await eventually(async () => {
      const slots = await slotsOf(stage)
      return slots.every((name) => name === stage.name || /_anchor_\d{14}$/.test(name)) ? slots : undefined
    }, 'nothing but the live slot and anchors')
  },
  120_000,
)

test('a stand-by keeps no anchors, and goes on with those of the bridge that was killed', async () => {
  const stage = await newStage()
  stage.bridge.start()
  await firstAnchor(stage)
  const { WAL2RABBIT_ADMIN_PORT: _, ...env } = stage.bridge.env
  const second = await BridgeProcess.create(env)
  onTestFinished(async () => void (await second.end('SIGKILL')))
  second.start()
  await second.until((status) => status.state === 'standby')
  const keepers = () =>
    stage.query(
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'wal2rabbit anchors'",
    )
  expect(await keepers()).toHaveLength(1)
  expect((await second.status())?.replayWindow).toBeNull()
  const before = await slotsOf(stage)
  await stage.bridge.end('SIGKILL')
  await second.until((status) => status.state === 'streaming' && status.replayWindow !== null)
  expect(await slotsOf(stage)).toEqual(before)
})
