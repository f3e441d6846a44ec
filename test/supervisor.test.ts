import { pino } from 'pino'
import { expect, test } from 'vitest'
import { BridgeError, type ErrorCode } from '../src/base/errors.ts'
import { ConfirmWindow } from '../src/sink/confirm-window.ts'
import type { Sink, SinkHandlers, SinkState } from '../src/sink/sink.ts'
import { type Session, Supervisor } from '../src/supervisor.ts'

class ScriptedSink implements Sink {
  state: SinkState = 'open'
  reason: BridgeError | undefined
  readonly counters = { published: 0, confirmed: 0, nacked: 0, returned: 0, dropped: 0, reconnects: 0 }
  handlers!: SinkHandlers
  stopped = 0
  start(handlers: SinkHandlers): void {
    this.handlers = handlers
  }
  flush(): void {}
  async stop(): Promise<void> {
    this.stopped++
  }
  become(state: SinkState, reason?: BridgeError): void {
    this.state = state
    this.reason = reason
    this.handlers.onState()
  }
}

/** Sessions that end as the script says; one that has no script left streams until it is stopped. */
function scripted(script: (ErrorCode | Error)[]) {
  const sink = new ScriptedSink()
  const window = new ConfirmWindow({ messages: 10, bytes: 100_000 })
  const started: number[] = []
  const waiters: (() => void)[] = []
  const supervisor = new Supervisor({
    sink,
    window,
    log: pino({ level: 'silent' }),
    retry: { initialDelay: 1, maxDelay: 4 },
    standbyInterval: 1,
    mendInterval: 1,
    newSession: async (onStreaming): Promise<Session> => {
      started.push(performance.now())
      for (const wake of waiters.splice(0)) wake()
      const next = script.shift()
      let stop: () => void = () => {}
      const stopped = new Promise<void>((resolve) => {
        stop = resolve
      })
      return {
        async run() {
          if (next === undefined) {
            onStreaming()
            await stopped
            return true
          }
          throw typeof next === 'string' ? new BridgeError(next, `scripted ${next}`) : next
        },
        stop: () => stop(),
        onProgress: () => {},
      }
    },
  })
  const sessions = async (count: number) => {
    while (started.length < count) {
      await new Promise<void>((resolve) => {
        waiters.push(resolve)
      })
    }
  }
  return { sink, supervisor, window, started, sessions }
}

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

test('stop ends a pending back-off at once', async () => {
  const { supervisor } = scripted(['SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED', 'SOURCE_AUTH_FAILED'])
  const run = supervisor.run()
  supervisor.stop()
  supervisor.stop()
  await run
  expect(supervisor.state).toBe('draining')
})
