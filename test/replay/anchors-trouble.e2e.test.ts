import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { type PostgresOptions, type PostgresService, startPostgres } from '../support/services.ts'
import type { Stage } from '../support/stage.ts'
import { anchorStage, anchorsOf, ask, dropStage, eventually, insertEvents, writeWal } from './anchor-stage.ts'

async function newStage(options: PostgresOptions): Promise<{ stage: Stage; server: PostgresService }> {
  const server = await startPostgres(options)
  onTestFinished(() => server.dispose())
  const stage = await anchorStage(server, {})
  onTestFinished(() => dropStage(stage))
  return { stage, server }
}

async function expectEvents(stage: Stage): Promise<void> {
  const collector = await stage.collector()
  const ids = await insertEvents(stage, 10)
  await collector.until(() => ids.every((id) => collector.ids.has(id)), 20_000, 'events')
}

test('without a free slot the window is degraded and the stream goes on; with one it is mended', async () => {
  const { stage } = await newStage({ settings: { max_replication_slots: '2' } })
  const { bridge } = stage
  await stage.query("SELECT pg_create_physical_replication_slot('of_somebody_else')")
  bridge.start()
  const status = await bridge.until(
    ({ state, replayWindow }) => state === 'streaming' && replayWindow?.degraded != null,
  )
  expect(status.replayWindow).toMatchObject({
    anchors: [],
    degraded: expect.stringMatching(/all replication slots are in use \(SQLSTATE 53400\)/),
  })
  await expectEvents(stage)
  await stage.query("SELECT pg_drop_replication_slot('of_somebody_else')")
  await bridge.until(({ replayWindow }) => replayWindow?.anchors.length === 1, 45_000, 'an anchor after the back-off')
  expect(bridge.log.match(/the replay window is degraded/g)).toHaveLength(1)
  expect(bridge.log).toContain('the replay window is in order again')
}, 120_000)

test('max_slot_wal_keep_size invalidates an anchor: the stream goes on, the loss is told, another is made', async () => {
  const { stage } = await newStage({ settings: { max_slot_wal_keep_size: '64MB', min_wal_size: '32MB' } })
  const { bridge } = stage
  bridge.start()
  const lost = (await bridge.until(({ replayWindow }) => replayWindow?.anchors.length === 1)).replayWindow!.anchors[0]!
  const live = async () => {
    const [row] = await stage.query(
      `SELECT restart_lsn::text AS restart, pg_current_wal_lsn()::text AS wal_end, wal_status
       FROM pg_replication_slots WHERE slot_name = $1`,
      [stage.name],
    )
    return row!
  }
  await eventually(
    async () => {
      await writeWal(stage, 8)
      // With a checkpoint PostgreSQL invalidates slots; and the live slot must come along before the next.
      await stage.query('CHECKPOINT')
      await insertEvents(stage, 1)
      await eventually(async () => {
        const { restart, wal_end: end } = await live()
        return parseLsn(String(end)) - parseLsn(String(restart)) < 16n * 1024n * 1024n ? true : undefined
      }, 'the live slot comes along')
      return /"because":"invalidated"/.test(bridge.log) ? true : undefined
    },
    'the anchor is invalidated',
    60_000,
  )
  const { state, replayWindow } = await bridge.until((status) => {
    const names = status.replayWindow?.anchors.map(({ name }) => name) ?? []
    return names.length > 0 && !names.includes(lost.name)
  })
  expect(state).toBe('streaming')
  expect(replayWindow!.degraded).toMatch(new RegExp(`PostgreSQL invalidated anchor ${lost.name} \\(wal_removed\\)`))
  expect((await anchorsOf(stage)).map(({ name }) => name)).toEqual(replayWindow!.anchors.map(({ name }) => name))
  expect((await live()).wal_status).toBe('reserved')
  const metrics = await (await fetch(`${bridge.url}/metrics`)).text()
  expect(metrics).toMatch(/^wal2rabbit_replay_window_degraded 1$/m)
  await expectEvents(stage)
}, 120_000)

test('an operation on slots that hangs delays neither a store nor the end of the process', async () => {
  const { stage, server } = await newStage({})
  if (server.dataFolder === undefined) return // its processes are another machine's
  const { bridge } = stage
  bridge.start()
  await bridge.until(({ replayWindow }) => replayWindow?.anchors.length === 1)
  const [keeper] = await ask(
    server.url,
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'wal2rabbit anchors'",
  )
  process.kill(Number(keeper!.pid), 'SIGSTOP')
  onTestFinished(() => void process.kill(Number(keeper!.pid), 'SIGCONT'))
  for (let round = 0; round < 5; round++) {
    const before = (await bridge.status())!.checkpoint.events!
    const [started] = [performance.now(), await insertEvents(stage, 10)]
    await bridge.until((status) => status.checkpoint.events! >= before + 10)
    expect(performance.now() - started).toBeLessThan(3000)
  }
  await bridge.until(({ replayWindow }) => replayWindow === null, 20_000, 'what is no longer known')
  expect((await bridge.status())?.state).toBe('streaming')
  expect(await bridge.end('SIGTERM')).toBe(0)
}, 120_000)
