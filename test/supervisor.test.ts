import { expect, onTestFinished, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { type Streams, scripted } from './scripted-sessions.ts'

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
    const { supervisor, started } = scripted([code])
    const run = supervisor.run()
    await expect.poll(() => supervisor.state).toBe('halted')
    expect(supervisor.reason?.code).toBe(code)
    expect(supervisor.reason?.remedy).toBeTruthy()
    // A wake-up for another reason, such as a confirm, must not end the halt.
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

test('a let-go for back-pressure waits until the window has room again', async () => {
  const { sink, supervisor, window, started, sessions } = scripted(['SOURCE_BACKPRESSURE'])
  for (let n = 0; n < 10; n++) {
    const refusal = { code: 'EVENT_INVALID', text: 'scripted' } as const
    const row = {
      committedAtSeconds: 0,
      eventId: null,
      message: undefined,
      refusal,
      unroutable: 'dead-letter',
    } as const
    window.pushRow({ ...row, commitLsn: 1n, ordinal: n })
  }
  const run = supervisor.run()
  await expect.poll(() => supervisor.reason?.code).toBe('SOURCE_BACKPRESSURE')
  sink.handlers.onProgress()
  await new Promise((resolve) => setImmediate(resolve))
  expect(started).toHaveLength(1)
  for (let row = window.head; row !== undefined; row = window.head) window.settle(row)
  sink.handlers.onProgress()
  await sessions(2)
  expect(supervisor.state).toBe('streaming')
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
  ['come to nothing back off further and further', false, [8, 16]],
  ['settle something start anew with a short back-off', true, [1, 2]],
] as const)('sessions that stream and %s', async (_what, settles, [least, most]) => {
  const session: Streams = { streams: 'SOURCE_CONNECTION_LOST', settles }
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

test('a session that is being drained hears of the sink, which may have become hopeless', async () => {
  const { sink, supervisor, sessions, heard } = scripted([])
  const run = supervisor.run()
  await sessions(1)
  const before = heard()
  sink.become('failing', new BridgeError('SINK_AUTH_FAILED', 'scripted'))
  expect(heard()).toBeGreaterThan(before)
  supervisor.stop()
  await run
})

test('stop ends a pending back-off at once', async () => {
  const { supervisor } = scripted(['SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED'])
  const run = supervisor.run()
  supervisor.stop()
  supervisor.stop()
  await run
  expect(supervisor.state).toBe('draining')
})
