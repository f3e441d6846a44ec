import { expect, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { atFailPoint, runCommand } from '../support/bridge-process.ts'
import { isLong } from '../support/length.ts'
import { RewindStage } from './rewind-stage.ts'

const steps = isLong
  ? (['intended', 'staged', 'moved', 'dropped', 'replaced', 'unstaged', 'done'] as const)
  : (['moved', 'dropped'] as const) // with the new position and the old slot, and with no slot

test('killed after any of its steps it keeps the bridge halted, is finished, and all from the target on comes again', async () => {
  const scene = await RewindStage.create()
  const { stage, collector } = scene
  await scene.start()
  await scene.writeTransactions(4)
  await scene.caughtUp((await scene.from('0/0')).length, 'the first part')
  for (const step of steps) {
    const target = (await stage.positions()).stored
    // What is delivered and stored above the target, and what is only in the WAL.
    const arrivedBefore = collector.deliveries.length - scene.witnessed.length
    await scene.writeTransactions(5)
    await scene.caughtUp(arrivedBefore + (await scene.from('0/0')).length, 'the next part')
    expect(await stage.bridge.end('SIGTERM')).toBe(0)
    await scene.writeTransactions(2)

    const killed = await scene.rewind(['--to', target, '--yes'], { failPoint: `rewind-${step}` })
    expect([killed.code, killed.stderr], step).toEqual([null, expect.stringContaining(`rewind of slot ${stage.name}`)])
    if ((step as string) !== 'done') {
      const unfinished = await scene.bookkeeping()
      const arrived = collector.deliveries.length
      stage.bridge.start()
      const { reason, counters } = await stage.bridge.until(
        ({ state }) => state === 'halted',
        60_000,
        `halted after ${step}`,
      )
      expect([reason?.code, counters.published], step).toEqual(['REWIND_UNFINISHED', 0])
      expect(await stage.bridge.end('SIGTERM'), step).toBe(3)
      expect([await scene.bookkeeping(), collector.deliveries.length], step).toEqual([unfinished, arrived])
      const resumed = await scene.rewind(['--resume', '--yes'])
      expect([resumed.code, resumed.stderr], step).toEqual([0, expect.stringContaining('start the bridge')])
    }
    expect(await scene.straySlots(), step).toEqual([])

    const arrived = collector.deliveries.length
    await scene.start()
    await scene.writeTransactions(2)
    const expected = await scene.from(target)
    await scene.caughtUp(arrived + expected.length, `all from the target on, after ${step}`)
    expect(scene.arrivedFrom(arrived), step).toEqual(expected)
  }
  expect(collector.ids.size).toBe(scene.witnessed.length)
  expect(collector.deliveries.every(({ message }) => message.properties.headers?.['wal-replay'] === undefined)).toBe(
    true,
  )
}, 600_000)

test('a bridge that runs is not disturbed; one that is halted by a rewind goes on by itself', async () => {
  const scene = await RewindStage.create()
  const { stage, collector } = scene
  await scene.start()
  const target = (await stage.positions()).stored
  await scene.writeTransactions(3)
  const first = await scene.from(target)
  await scene.caughtUp(first.length, 'the first part')
  const refused = await scene.rewind(['--to', target, '--yes'])
  expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('error BRIDGE_RUNNING')])
  const asked = await scene.rewind(['--to', target, '--json'])
  expect([asked.code, JSON.parse(asked.stdout)]).toEqual([
    2,
    expect.objectContaining({ slot: stage.name, state: 'planned' }),
  ])
  expect(asked.stderr).toContain('stop the bridge')
  await scene.writeTransactions(1)
  const both = await scene.from(target)
  await scene.caughtUp(both.length, 'the stream goes on')
  expect(scene.arrivedFrom(0)).toEqual(both)
  expect(await stage.bridge.end('SIGTERM')).toBe(0)

  expect((await scene.rewind(['--to', target, '--yes'], { failPoint: 'rewind-moved' })).code).toBe(null)
  stage.bridge.start()
  await stage.bridge.until(({ state }) => state === 'halted')
  for (const args of [['init'], ['init', '--accept-gap'], ['rewind', '--to', '0/1', '--yes']]) {
    const { code, stderr } = await runCommand(args, stage.bridge.env)
    expect([code, stderr], args.join(' ')).toEqual([3, expect.stringContaining('REWIND_UNFINISHED')])
  }
  const resumed = await scene.rewind(['--resume', '--yes', '--json'])
  expect(JSON.parse(resumed.stdout)).toMatchObject({ state: 'done', to: { lsn: target, partial: null } })
  await collector.until(() => collector.deliveries.length >= both.length * 2, 60_000, 'it goes on by itself')
  expect(scene.arrivedFrom(both.length)).toEqual(both)
  expect(await scene.straySlots()).toEqual([])
}, 240_000)

test('by event and by mark: it begins at the event itself, within its transaction, and at the mark', async () => {
  const scene = await RewindStage.create()
  const { stage, collector } = scene
  await scene.start()
  await scene.write(5)
  await scene.caughtUp(5, 'the transaction')
  // What the consumer has is stored a moment later, and a mark is what is stored.
  const lsn = parseLsn(collector.deliveries.at(-1)!.commitLsn)
  await stage.bridge.until(({ positions }) => parseLsn(positions.stored ?? '0/0') > lsn, 10_000, 'stored')
  const mark = await runCommand(['checkpoints', 'mark', 'release-7'], stage.bridge.env)
  expect(mark.code, mark.stderr).toBe(0)
  await scene.write(3)
  await scene.caughtUp(8, 'what follows')
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  const ids = collector.deliveries.map(({ id }) => id)
  const all = scene.arrivedFrom(0)

  let arrived = 8
  for (const [to, expected] of [
    [`event:${ids[2]}`, all.slice(2)],
    ['release-7', all.slice(5)],
    [`event:${ids[0]}`, all],
  ] as const) {
    const { code, stderr } = await scene.rewind(['--to', to, '--yes'])
    expect([code, stderr], to).toEqual([0, expect.stringContaining('start the bridge')])
    await scene.start()
    await scene.caughtUp(arrived + expected.length, to)
    expect(await stage.bridge.end('SIGTERM')).toBe(0)
    expect(scene.arrivedFrom(arrived), to).toEqual(expected)
    arrived += expected.length
  }
}, 240_000)

// It read where the slot stands before the rewind, and begins to stream after it.
test('a bridge that was stopped while it took the slot wakes up after the rewind, and does the new slot no harm', async () => {
  const scene = await RewindStage.create()
  const { stage, collector } = scene
  await scene.start()
  const target = (await stage.positions()).stored
  await scene.writeTransactions(4)
  const all = await scene.from(target)
  await scene.caughtUp(all.length, 'the first part')
  expect(await stage.bridge.end('SIGTERM')).toBe(0)

  const { nodeOptions, env } = atFailPoint('subscribing:1:SIGSTOP')
  stage.bridge.start(nodeOptions, env)
  await stage.bridge.untilStopped()
  expect((await scene.rewind(['--to', target, '--yes'])).code).toBe(0)
  stage.bridge.signal('SIGCONT')
  await collector.until(() => collector.deliveries.length >= all.length * 2, 60_000, 'all from the target on')
  expect(scene.arrivedFrom(all.length)).toEqual(all)
  expect(stage.bridge.log).toContain('CHECKPOINT_FENCED')
  expect(stage.bridge.log).not.toContain('SLOT_AHEAD')
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
}, 120_000)
