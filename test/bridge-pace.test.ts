import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { at, commit, row, scriptedBridge } from './scripted-parts.ts'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

async function streaming(options: Parameters<typeof scriptedBridge>[0] = {}) {
  const parts = scriptedBridge(options)
  const run = parts.bridge.run()
  // Who waits for it may come later than the rejection.
  run.catch(() => undefined)
  await parts.streaming
  const transaction = (commitLsn: bigint) => parts.source.handlers.onEvents([row(commitLsn), commit(commitLsn)])
  return { ...parts, run, transaction }
}

test('between two stores lies the interval, from the answer of the first on', async () => {
  const { bridge, checkpoint, transaction, confirm, run } = await streaming({ timings: { storeInterval: 200 } })
  transaction(0x20n)
  confirm()
  await vi.advanceTimersByTimeAsync(190)
  expect(checkpoint.stored).toHaveLength(0)
  await vi.advanceTimersByTimeAsync(60)
  expect(checkpoint.stored).toHaveLength(1)
  transaction(0x30n)
  confirm()
  await vi.advanceTimersByTimeAsync(140)
  expect(checkpoint.stored).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(110)
  expect(checkpoint.stored).toHaveLength(2)
  bridge.stop()
  await run
})

test('the WAL that a store makes is no reason for the next one', async () => {
  const { bridge, source, checkpoint, transaction, confirm, run } = await streaming()
  checkpoint.storing = async () => 0x40_000n
  transaction(0x20n)
  confirm()
  await vi.advanceTimersByTimeAsync(100)
  expect(checkpoint.stored).toHaveLength(1)
  source.handlers.onEvents([{ kind: 'idle', walEnd: 0x40_000n }])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(checkpoint.stored).toHaveLength(1)
  // Other tables make WAL as well: the slot has to follow.
  source.handlers.onEvents([{ kind: 'idle', walEnd: 0x91_234n }])
  await vi.advanceTimersByTimeAsync(2000)
  expect(checkpoint.stored.at(-1)).toEqual({ position: at(0x91_234n), rows: 0 })
  bridge.stop()
  await run
})

test('a keep-alive behind rows of the same chunk waits for them', async () => {
  const { bridge, source, checkpoint, confirm, run } = await streaming()
  source.handlers.onEvents([row(0x20n), commit(0x20n), { kind: 'idle', walEnd: 0x91_234n }])
  await vi.advanceTimersByTimeAsync(60_000)
  expect([checkpoint.stored, source.acknowledged]).toEqual([[], []])
  confirm()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(source.acknowledged).toEqual([0x91_234n])
  bridge.stop()
  await run
})

test('history is written now and then, and only when rows were stored', async () => {
  const { bridge, source, calls, transaction, confirm, run } = await streaming({ timings: { historyInterval: 10_000 } })
  const written = () => calls.filter((call) => call === 'history interval').length
  await vi.advanceTimersByTimeAsync(20_000)
  source.handlers.onEvents([{ kind: 'idle', walEnd: 0x91_234n }])
  await vi.advanceTimersByTimeAsync(20_000)
  expect(written()).toBe(0)
  for (const commitLsn of [0x91_300n, 0x91_400n]) {
    transaction(commitLsn)
    confirm()
    await vi.advanceTimersByTimeAsync(1000)
    expect(written()).toBe(1)
  }
  bridge.stop()
  await run
})

test('a window that has made room in time does not let the connection go', async () => {
  const { bridge, source, confirm, released, run } = await streaming({ timings: { backpressureTimeout: 30_000 } })
  let ended = false
  run.catch(() => {
    ended = true
  })
  source.handlers.onEvents([row(0x20n), row(0x20n, 1), row(0x20n, 2), row(0x20n, 3)])
  await vi.advanceTimersByTimeAsync(29_000)
  confirm()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ended).toBe(false)
  source.handlers.onEvents([row(0x20n, 4), row(0x20n, 5), row(0x20n, 6), row(0x20n, 7)])
  await vi.advanceTimersByTimeAsync(29_000)
  expect(ended).toBe(false)
  await vi.advanceTimersByTimeAsync(1100)
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_BACKPRESSURE' })
  expect(released).toEqual(['SOURCE_BACKPRESSURE'])
  bridge.stop()
})

test('a drain that makes room does not read on', async () => {
  const { bridge, source, calls, confirm, run } = await streaming()
  source.handlers.onEvents([row(0x20n), row(0x20n, 1), row(0x20n, 2), row(0x20n, 3)])
  bridge.stop()
  await vi.advanceTimersByTimeAsync(0)
  confirm(2)
  confirm()
  await run
  expect(calls.filter((call) => call === 'read')).toHaveLength(1)
})

test.each(['stopped', 'ended by an error', 'drained in vain'])(
  'a session that was %s leaves no timer behind',
  async (how) => {
    const { bridge, source, confirm, run } = await streaming({ timings: { drainTimeout: 5000 } })
    source.handlers.onEvents([row(0x20n), commit(0x20n)])
    if (how === 'ended by an error') source.handlers.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'scripted'))
    else bridge.stop()
    await vi.advanceTimersByTimeAsync(0)
    if (how === 'stopped') confirm()
    if (how === 'drained in vain') await vi.advanceTimersByTimeAsync(5000)
    await run.catch(() => undefined)
    expect(vi.getTimerCount()).toBe(0)
  },
)
