import { afterEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { at, commit, gate, row, scriptedBridge } from './scripted-parts.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

afterEach(() => {
  vi.restoreAllMocks()
})

test.each(['resuming', 'claiming'] as const)('a stop while %s ends the session once that is done', async (phase) => {
  const { bridge, checkpoint, calls } = scriptedBridge()
  const done = gate()
  checkpoint[phase] = done.promise
  const run = bridge.run()
  await turn()
  bridge.stop()
  done.open()
  await run
  expect(calls).not.toContain('read')
  expect(calls).not.toContain('streaming')
  expect(calls.slice(-2)).toEqual(['stop source', 'close'])
})

test('a stop while the stream starts ends the session, also when the start fails then', async () => {
  const { bridge, source, calls } = scriptedBridge()
  const start = gate()
  source.starting = start.promise
  const run = bridge.run()
  await turn()
  bridge.stop()
  start.fail(new BridgeError('SOURCE_UNREACHABLE', 'scripted'))
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  expect(calls.slice(-2)).toEqual(['stop source', 'close'])
})

test('a stop before the run reads nothing', async () => {
  const { bridge, calls } = scriptedBridge()
  bridge.stop()
  await bridge.run()
  expect(calls).not.toContain('read')
})

test('a session whose stream ends while it is being made never counts as streaming', async () => {
  const { bridge, source, checkpoint, calls } = scriptedBridge()
  const claim = gate()
  checkpoint.claiming = claim.promise
  const run = bridge.run()
  await turn()
  source.handlers.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'scripted'))
  claim.open()
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  expect(calls).not.toContain('streaming')
})

test('a drain takes in nothing more, and stores what the broker confirms until the window is empty', async () => {
  const { bridge, source, checkpoint, window, streaming, confirm } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  bridge.stop()
  source.handlers.onEvents([row(0x40n), commit(0x40n)])
  await turn()
  confirm(1)
  await turn()
  confirm(1)
  await run
  expect(window.received).toEqual(at(0x38n))
  expect(checkpoint.stored.at(-1)?.position).toEqual(at(0x38n))
  expect([window.isEmpty, window.unstoredRows]).toEqual([true, 0])
})

// A timer fires up to a millisecond early by performance.now(): a drain that asked the clock again then waited for ever.
test('a drain is over when its time is, whatever the clock says, and what was settled is stored', async () => {
  const { bridge, source, checkpoint, window, streaming, confirm } = scriptedBridge({ timings: { drainTimeout: 20 } })
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  confirm(1)
  const now = performance.now()
  vi.spyOn(performance, 'now').mockReturnValue(now)
  bridge.stop()
  await run
  expect(checkpoint.stored.at(-1)?.position).toEqual(at(0x28n))
  expect(window.isEmpty).toBe(false)
})

test.each(['stuck', 'failing'] as const)('a drain does not wait for a sink that is %s', async (state) => {
  const { bridge, source, sink, streaming, confirm, calls } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  sink.state = state
  bridge.onProgress()
  await turn()
  // What is in flight may still be answered.
  expect(calls).not.toContain('stop source')
  confirm()
  await run
  const { bridge: next, source: rows, sink: gone, streaming: begun } = scriptedBridge()
  gone.flush = () => {}
  const second = next.run()
  await begun
  rows.handlers.onEvents([row(0x20n), commit(0x20n)])
  next.stop()
  await turn()
  gone.state = state
  next.onProgress()
  await second
})

test('a drain waits for the store under way and stores once more, never two at a time', async () => {
  const { bridge, source, checkpoint, streaming, confirm } = scriptedBridge({ timings: { storeInterval: 1 } })
  let underWay = 0
  let most = 0
  const slow = [gate<bigint>(), gate<bigint>()]
  checkpoint.storing = async () => {
    most = Math.max(most, ++underWay)
    const walEnd = await slow.shift()?.promise
    underWay--
    return walEnd ?? 0n
  }
  const answers = [...slow]
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  confirm(1)
  await expect.poll(() => underWay).toBe(1)
  bridge.stop()
  confirm(1)
  await turn()
  answers[0]!.open(0n)
  await expect.poll(() => checkpoint.stored.length).toBe(1)
  await expect.poll(() => underWay).toBe(1)
  // Long enough for the session's own timer to come by.
  await new Promise((resolve) => setTimeout(resolve, 40))
  answers[1]!.open(0n)
  await run
  expect(most).toBe(1)
  expect(checkpoint.stored.map(({ position }) => position.lsn)).toEqual([0x28n, 0x38n])
})

test('a drain is given up when nothing can be stored any more, and says so', async () => {
  const { bridge, source, checkpoint, window, streaming } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  await turn()
  checkpoint.onLost(new BridgeError('SOURCE_SHUTTING_DOWN', 'scripted'))
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_SHUTTING_DOWN' })
  expect([checkpoint.stored, source.acknowledged, window.isEmpty]).toEqual([[], [], false])
})

test('a drain goes on when only the stream is lost', async () => {
  const { bridge, source, checkpoint, streaming, confirm } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  await turn()
  source.handlers.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'scripted'))
  await turn()
  confirm()
  await run
  expect(checkpoint.stored.at(-1)?.position).toEqual(at(0x28n))
})

test('a session that ends by an error waits for its store, so that the next one meets none of it', async () => {
  const { bridge, source, checkpoint, calls, streaming, confirm } = scriptedBridge()
  const answer = gate<bigint>()
  checkpoint.storing = () => answer.promise
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  confirm()
  await expect.poll(() => calls).toContain('store 40')
  source.handlers.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'scripted'))
  await turn()
  expect(calls).not.toContain('close')
  answer.open(0n)
  await expect(run).rejects.toThrow('scripted')
  expect(calls.slice(-3)).toEqual(['stored 40', 'acknowledge 40', 'close'])
})
