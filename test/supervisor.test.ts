import { expect, onTestFinished, test, vi } from 'vitest'
import { BridgeError, type ErrorCode } from '../src/base/errors.ts'
import type { SinkState } from '../src/sink/sink.ts'
import { type Streams, scripted } from './scripted-sessions.ts'
import { windowRow } from './sink/window-rows.ts'

test('an outage is tried again until it is over, and then the bridge streams', async () => {
  const { supervisor, sessions } = scripted(['SOURCE_UNREACHABLE', 'SOURCE_CONNECTION_LOST', 'SOURCE_SHUTTING_DOWN'])
  const run = supervisor.run()
  await sessions(4)
  expect(supervisor.state).toBe('streaming')
  expect(supervisor.reason).toBeUndefined()
  supervisor.stop()
  expect(await run).toEqual({ drained: true, halted: false })
})

test('a slot in use makes a stand-by, which takes over when it is free', async () => {
  const { supervisor, sessions } = scripted(['SLOT_ACTIVE', 'SLOT_ACTIVE'])
  const run = supervisor.run()
  await sessions(2)
  expect(supervisor.state).toBe('standby')
  await sessions(3)
  expect(supervisor.state).toBe('streaming')
  supervisor.stop()
  await run
})

test.each(['SLOT_MISSING', 'SLOT_AHEAD', 'SYSTEM_CHANGED', 'PUBLICATION_MISSING', 'ASSERTION_FAILED'] as const)(
  '%s halts: no further session, the reason with its remedy stays, a stop reports the halt',
  async (code) => {
    const { sink, supervisor, started } = scripted([code])
    const run = supervisor.run()
    await expect.poll(() => supervisor.state).toBe('halted')
    expect(supervisor.reason?.code).toBe(code)
    expect(supervisor.reason?.remedy).toBeTruthy()
    // A wake-up for another reason, such as a confirm, must not end the halt.
    sink.handlers.onProgress()
    await new Promise((resolve) => setImmediate(resolve))
    expect(started).toHaveLength(1)
    supervisor.stop()
    expect((await run).halted).toBe(true)
  },
)

test('an error that nobody knows halts: fail closed', async () => {
  const { supervisor } = scripted([new TypeError('surprise')])
  const run = supervisor.run()
  await expect.poll(() => supervisor.state).toBe('halted')
  expect(supervisor.reason?.code).toBe('UNKNOWN')
  supervisor.stop()
  await run
})

test('what an operator can mend is looked at again and gone on with', async () => {
  const { supervisor, sessions } = scripted(['SOURCE_AUTH_FAILED', 'SOURCE_PERMISSION_DENIED'])
  const run = supervisor.run()
  expect(supervisor.state).toBe('starting')
  await sessions(3)
  expect(supervisor.state).toBe('streaming')
  supervisor.stop()
  await run
})

test('the state follows the sink while the session goes on', async () => {
  const { sink, supervisor, sessions } = scripted([])
  const run = supervisor.run()
  await sessions(1)
  sink.become('blocked')
  expect(supervisor.state).toBe('blocked')
  sink.become('connecting')
  expect(supervisor.state).toBe('retrying')
  sink.become('stuck', new BridgeError('EVENT_UNROUTABLE', 'no queue'))
  expect(supervisor.state).toBe('halted')
  expect(supervisor.reason?.code).toBe('EVENT_UNROUTABLE')
  sink.become('open')
  expect(supervisor.state).toBe('streaming')
  supervisor.stop()
  expect(supervisor.state).toBe('draining')
  await run
  expect(sink.stopped).toBe(1)
})

/** A session was let go with a full window, while the sink stood as given. */
async function letGo(state: SinkState, code?: ErrorCode) {
  const parts = scripted(['SOURCE_BACKPRESSURE'])
  const { sink, supervisor, window, started } = parts
  for (let n = 0; n < 10; n++) window.pushRow(windowRow({ commitLsn: 1n, ordinal: n }))
  const run = supervisor.run()
  sink.become(state, code === undefined ? undefined : new BridgeError(code, 'scripted'))
  await expect.poll(() => supervisor.reason?.code).toBe('SOURCE_BACKPRESSURE')
  sink.handlers.onProgress()
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(started).toHaveLength(1)
  return { ...parts, run }
}

test('a let-go for back-pressure waits until the window has room again', async () => {
  const { sink, supervisor, window, sessions, run } = await letGo('connecting')
  for (let row = window.head; row !== undefined; row = window.head) {
    window.sent(row, 0)
    window.settle(row)
  }
  sink.handlers.onProgress()
  await sessions(2)
  supervisor.stop()
  await run
})

// Without a session nobody may publish, so the window never emptied: an alarm of 60 s stopped the stream for ever.
test.each([
  ['a broker that is back', 'connecting', undefined, 'open', undefined],
  ['the end of an alarm', 'blocked', 'SINK_BLOCKED', 'open', undefined],
  ['an event that is blocked by policy', 'blocked', 'SINK_BLOCKED', 'blocked', 'EVENT_UNROUTABLE'],
] as const)('a let-go for back-pressure ends with %s, though the window is full', async (_, state, code, next, why) => {
  const { sink, supervisor, sessions, run } = await letGo(state, code)
  sink.become(next, why === undefined ? undefined : new BridgeError(why, 'scripted'))
  await sessions(2)
  supervisor.stop()
  await run
})

// After 30 s a halt for a revoked permission said "nothing to do": the source had been let go meanwhile.
test('while the sink halts, the reason is what must be mended and not the outage that follows from it', async () => {
  const { sink, supervisor, run } = await letGo('connecting')
  sink.become('failing', new BridgeError('SINK_PERMISSION_DENIED', 'scripted'))
  expect(supervisor.state).toBe('halted')
  expect(supervisor.reason?.code).toBe('SINK_PERMISSION_DENIED')
  supervisor.stop()
  await run
})

// By performance.now() a timer may fire before its time: a back-off that asked the clock again then waited for ever.
test('a back-off is over when its timer says so, whatever the clock says', async () => {
  const { supervisor, sessions } = scripted(['SOURCE_UNREACHABLE'])
  const now = performance.now()
  vi.spyOn(performance, 'now').mockReturnValue(now)
  onTestFinished(() => void vi.restoreAllMocks())
  const run = supervisor.run()
  await sessions(2)
  supervisor.stop()
  await run
})

test.each([
  ['come to nothing back off further and further', {}, [8, 16]],
  ['settle something start anew with a short back-off', { settles: true }, [1, 2]],
  ['last start anew with a short back-off', { lasts: 25 }, [1, 2]],
] as const)('sessions that stream and %s', async (_what, kind, [least, most]) => {
  const session: Streams = { streams: 'SOURCE_CONNECTION_LOST', ...kind }
  const { supervisor, sessions, lines } = scripted([session, session, session, session], {
    initialDelay: 2,
    maxDelay: 16,
  })
  const run = supervisor.run()
  await sessions(5)
  const last = lines.findLast((line) => 'delay' in line)?.delay
  expect(last).toBeGreaterThanOrEqual(least)
  expect(last).toBeLessThanOrEqual(most)
  supervisor.stop()
  await run
})

test('a stop in a back-off says that not all was stored, although the window is empty', async () => {
  const { supervisor, window } = scripted([{ streams: 'SOURCE_UNREACHABLE', settles: true }], {
    initialDelay: 60_000,
    maxDelay: 60_000,
  })
  const run = supervisor.run()
  await expect.poll(() => supervisor.state).toBe('retrying')
  supervisor.stop()
  expect([window.isEmpty, await run]).toEqual([true, { drained: false, halted: false }])
})

test('a stand-by that once streamed stops in order: what it holds is delivered by the active bridge', async () => {
  const { supervisor, sessions } = scripted([
    { streams: 'CHECKPOINT_FENCED', settles: true },
    'SLOT_ACTIVE',
    'SLOT_ACTIVE',
    { streams: 'SLOT_ACTIVE' },
  ])
  const run = supervisor.run()
  await sessions(3)
  expect(supervisor.state).toBe('standby')
  supervisor.stop()
  expect(await run).toEqual({ drained: true, halted: false })
})

test('a stop with rows that are not settled says that it did not drain', async () => {
  const { supervisor, window, sessions } = scripted([])
  const run = supervisor.run()
  await sessions(1)
  window.pushRow(windowRow({ commitLsn: 1n, ordinal: 0 }))
  supervisor.stop()
  expect(await run).toEqual({ drained: false, halted: false })
})

test('the session hears of progress, and of the state of the sink, which may have become hopeless', async () => {
  const { sink, supervisor, sessions, heard } = scripted([])
  const run = supervisor.run()
  await sessions(1)
  sink.handlers.onProgress()
  expect(heard()).toBe(1)
  sink.become('failing', new BridgeError('SINK_AUTH_FAILED', 'scripted'))
  expect(heard()).toBe(2)
  supervisor.stop()
  await run
})

test('a stop while a session is being made does not run it', async () => {
  const { supervisor, options } = scripted([])
  let make = () => {}
  let ran = false
  options.newSession = () =>
    new Promise((resolve) => {
      const run = async () => {
        ran = true
      }
      make = () => resolve({ run, stop: () => {}, onProgress: () => {} })
    })
  const run = supervisor.run()
  supervisor.stop()
  make()
  await run
  expect(ran).toBe(false)
})

test('a session that fails while it is stopped halts nothing', async () => {
  const { supervisor, options, lines } = scripted([])
  let fail = () => {}
  options.newSession = async () => ({
    run: () =>
      new Promise((_, reject) => {
        fail = () => reject(new BridgeError('SLOT_AHEAD', 'scripted'))
      }),
    stop: () => fail(),
    onProgress: () => {},
  })
  const run = supervisor.run()
  await new Promise((resolve) => setImmediate(resolve))
  supervisor.stop()
  expect(await run).toEqual({ drained: true, halted: false })
  expect(lines.map(({ msg }) => msg)).toContain('failed while stopping')
})

test('a stop leaves no timer behind', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const { supervisor } = scripted(['SOURCE_UNREACHABLE'], { initialDelay: 60_000, maxDelay: 60_000 })
  const run = supervisor.run()
  await vi.waitUntil(() => supervisor.state === 'retrying')
  supervisor.stop()
  await run
  expect(vi.getTimerCount()).toBe(0)
})

test('stop ends a pending back-off at once', async () => {
  const { supervisor } = scripted(['SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED'])
  const run = supervisor.run()
  supervisor.stop()
  supervisor.stop()
  await run
  expect(supervisor.state).toBe('draining')
})
