import { pino } from 'pino'
import { BridgeError, type ErrorCode } from '../src/base/errors.ts'
import { ConfirmWindow } from '../src/sink/confirm-window.ts'
import type { Sink, SinkHandlers, SinkState } from '../src/sink/sink.ts'
import { type Session, Supervisor } from '../src/supervisor.ts'
import { windowRow } from './sink/window-rows.ts'

class ScriptedSink implements Sink {
  state: SinkState = 'open'
  reason: BridgeError | undefined
  readonly counters = { published: 0, confirmed: 0, nacked: 0, returned: 0, deadLettered: 0, dropped: 0, reconnects: 0 }
  handlers!: SinkHandlers
  stopped = 0
  start(handlers: SinkHandlers): void {
    this.handlers = handlers
  }
  flush(): void {}
  resume(): void {}
  async stop(): Promise<void> {
    this.stopped++
  }
  become(state: SinkState, reason?: BridgeError): void {
    this.state = state
    this.reason = reason
    this.handlers.onState()
  }
}

/** A session that streams, for so many milliseconds, settles a row or none, and ends so. */
export interface Streams {
  readonly streams: ErrorCode
  readonly settles?: boolean
  readonly lasts?: number
}

/** Takes a row into the window and settles it, as the sink would. */
function settleRow(window: ConfirmWindow): void {
  window.pushRow(windowRow({ commitLsn: window.receivedLsn + 1n, ordinal: 0 }))
  window.pushCommit(window.receivedLsn, window.receivedLsn + 8n)
  const row = window.head
  if (row === undefined) return
  window.sent(row, 0)
  window.settle(row)
}

/** Sessions that end as the script says; one that has no script left streams until it is stopped. */
export function scripted(script: (ErrorCode | Error | Streams)[], retry = { initialDelay: 1, maxDelay: 4 }) {
  const lines: Record<string, unknown>[] = []
  const sink = new ScriptedSink()
  const window = new ConfirmWindow({ messages: 10, bytes: 100_000 })
  const started: number[] = []
  const waiters: (() => void)[] = []
  let progress = 0
  const options = {
    sink,
    window,
    log: pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) }),
    retry,
    standbyInterval: 1,
    mendInterval: 1,
    newSession: async (onStreaming: () => void): Promise<Session> => {
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
            return
          }
          if (typeof next === 'object' && 'streams' in next) {
            onStreaming()
            if (next.settles) settleRow(window)
            if (next.lasts !== undefined) await new Promise((resolve) => setTimeout(resolve, next.lasts))
            throw new BridgeError(next.streams, `scripted ${next.streams}`)
          }
          throw typeof next === 'string' ? new BridgeError(next, `scripted ${next}`) : next
        },
        stop: () => stop(),
        onProgress: () => {
          progress++
        },
      }
    },
  }
  const supervisor = new Supervisor({ ...options, newSession: (onStreaming) => options.newSession(onStreaming) })
  const sessions = async (count: number) => {
    while (started.length < count) {
      await new Promise<void>((resolve) => {
        waiters.push(resolve)
      })
    }
  }
  return { options, sink, supervisor, window, started, sessions, lines, heard: () => progress }
}
