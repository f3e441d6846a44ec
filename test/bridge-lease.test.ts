import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { commit, gate, row, scriptedBridge } from './scripted-parts.ts'

const fenced = () => new BridgeError('CHECKPOINT_FENCED', 'scripted')
const lost = () => new BridgeError('SOURCE_CONNECTION_LOST', 'scripted')

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

function stage(options: Parameters<typeof scriptedBridge>[0] = {}) {
  const parts = scriptedBridge(options)
  const held = () => parts.lease.holds(performance.now())
  const pass = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds)
  const start = () => {
    const run = parts.bridge.run()
    // Who waits for it may come later than the rejection.
    run.catch(() => undefined)
    return run
  }
  return { ...parts, held, pass, start }
}

test('what is to be ready at the claim comes after it, and before anything flows', async () => {
  const claimed = gate()
  const { bridge, sink, calls, held, pass, start } = stage({ claimed: () => claimed.promise })
  const run = start()
  await pass(5000)
  expect([calls.at(-1), held(), sink.flushes]).toEqual(['claimed', false, 0])
  claimed.open()
  await pass()
  expect(calls.slice(2, 7)).toEqual(['claim', 'claimed', 'history start', 'streaming', 'read'])
  expect(held()).toBe(true)
  bridge.stop()
  await run
})

test('a session in which that fails ends, having read and published nothing', async () => {
  const { sink, calls, held, start } = stage({
    claimed: async () => {
      throw new BridgeError('SOURCE_PERMISSION_DENIED', 'scripted')
    },
  })
  await expect(start()).rejects.toMatchObject({ code: 'SOURCE_PERMISSION_DENIED' })
  expect(calls).toEqual(['resume', 'start 16', 'claim', 'claimed', 'stop source', 'close'])
  expect([held(), sink.flushes]).toEqual([false, 0])
})

test.each(['claiming', 'resuming'] as const)(
  'a session that fails while %s holds no lease at any time',
  async (phase) => {
    const { checkpoint, sink, held, start } = stage()
    checkpoint[phase] = Promise.reject(fenced())
    await expect(start()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
    expect([held(), sink.flushes]).toEqual([false, 0])
  },
)

test('the lease is two fifths of wal_sender_timeout, from the claim on', async () => {
  const claimed = gate()
  const { bridge, source, checkpoint, held, pass, start } = stage({ claimed: () => claimed.promise })
  source.walSenderTimeout = 10_000
  checkpoint.confirmingOwner = () => new Promise(() => {})
  const run = start()
  await pass(3000)
  claimed.open()
  await pass(999)
  expect(held()).toBe(true)
  await pass(1)
  expect(held()).toBe(false)
  bridge.stop()
  await run
})

test('while it streams and nothing is stored, the checkpoint is asked whether it is still ours', async () => {
  const { bridge, calls, held, pass, start } = stage()
  const run = start()
  await pass(300_000)
  expect(held()).toBe(true)
  const asked = calls.filter((call) => call === 'owner?').length
  expect(asked).toBeGreaterThanOrEqual(45)
  expect(asked).toBeLessThanOrEqual(51)
  bridge.stop()
  await run
  expect(held()).toBe(false)
})

test('stores that are far apart leave no gap in the lease', async () => {
  const { bridge, source, held, pass, start } = stage({ timings: { storeInterval: 60_000 } })
  source.walSenderTimeout = 2000
  const run = start()
  for (let second = 0; second < 300; second++) {
    await pass(200)
    expect(held()).toBe(true)
  }
  bridge.stop()
  await run
})

test('a store proves it as well', async () => {
  const { bridge, source, checkpoint, calls, held, pass, confirm, start } = stage()
  checkpoint.confirmingOwner = () => new Promise(() => {})
  const run = start()
  await pass()
  for (let lsn = 0x20n; lsn < 0x200n; lsn += 0x10n) {
    source.handlers.onEvents([row(lsn), commit(lsn)])
    confirm()
    await pass(5000)
    expect(held()).toBe(true)
  }
  expect(calls).not.toContain('owner?')
  bridge.stop()
  await run
})

test('a store that waits for its answer proves nothing yet, and later no more than what was so when it was asked', async () => {
  const { bridge, source, checkpoint, held, pass, confirm, start } = stage()
  const answer = gate<bigint>()
  checkpoint.storing = () => answer.promise
  checkpoint.confirmingOwner = () => new Promise(() => {})
  const run = start()
  await pass()
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  confirm()
  await pass(24_100)
  expect(held()).toBe(false)
  answer.open(0n)
  await pass()
  expect([checkpoint.stored.length, held()]).toEqual([1, false])
  bridge.stop()
  await run
})

test('when the owner is confirmed after all, what waits in the window goes out', async () => {
  const { bridge, sink, checkpoint, held, pass, start } = stage()
  const answers = [gate(), gate()]
  checkpoint.confirmingOwner = () => answers[0]?.promise ?? Promise.resolve()
  const run = start()
  await pass(30_100)
  expect(held()).toBe(false)
  const [late] = answers.splice(0, 1)
  const { flushes } = sink
  late?.open()
  await pass()
  // The answer is older than a lease lasts: the next question, at once, is what counts.
  answers[0]?.open()
  await pass(20)
  expect(held()).toBe(true)
  expect(sink.flushes).toBeGreaterThan(flushes)
  bridge.stop()
  await run
})

test.each(['while it streams', 'while it drains'])('another owner ends the session at once, %s', async (moment) => {
  const { bridge, source, checkpoint, window, held, pass, start } = stage()
  const run = start()
  await pass()
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  if (moment === 'while it drains') bridge.stop()
  checkpoint.confirmingOwner = async () => {
    throw fenced()
  }
  await pass(6000)
  await expect(run).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  expect([held(), checkpoint.stored, window.isEmpty]).toEqual([false, [], false])
})

test('the lease goes on while a session drains, and ends with it', async () => {
  const { bridge, source, held, pass, confirm, start } = stage()
  const run = start()
  await pass()
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  await pass(50_000)
  expect(held()).toBe(true)
  confirm()
  await run
  expect(held()).toBe(false)
})

// What is unsent then may already be the next owner's, and overtake it.
test('a drain that loses the stream sends nothing more', async () => {
  const { bridge, source, held, pass, confirm, start } = stage()
  const run = start()
  await pass()
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  await pass()
  source.handlers.onEnd(lost())
  expect(held()).toBe(false)
  confirm()
  await run
})

test('the lease ends when the stream does, before the connections are closed', async () => {
  const { source, held, pass, start } = stage()
  const run = start()
  await pass()
  const closing = gate()
  let heldAtClose: boolean | undefined
  source.stop = async () => {
    heldAtClose = held()
    await closing.promise
  }
  source.handlers.onEnd(lost())
  await pass()
  expect([heldAtClose, held()]).toEqual([false, false])
  closing.open()
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
})

test('a store that is answered after the end of its session gives the lease back to nobody', async () => {
  const { source, checkpoint, held, pass, confirm, start } = stage()
  const answer = gate<bigint>()
  checkpoint.storing = () => answer.promise
  const run = start()
  await pass()
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  confirm()
  await pass(100)
  source.handlers.onEnd(lost())
  await pass()
  answer.open(0n)
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  expect(held()).toBe(false)
})
