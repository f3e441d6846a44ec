import { onTestFinished } from 'vitest'
import { ConfirmWindow } from '../../src/sink/confirm-window.ts'
import { RabbitmqSink, type RabbitmqSinkOptions } from '../../src/sink/rabbitmq-sink.ts'
import type { SinkState } from '../../src/sink/sink.ts'
import type { Topology } from '../../src/sink/topology.ts'

export const noTopology: Topology = { mode: 'verify', exchanges: [], queues: [], bindings: [] }

export interface SinkHarness {
  readonly window: ConfirmWindow
  readonly sink: RabbitmqSink
  readonly lines: string[]
  /** Every state that was reported, in order. */
  readonly states: SinkState[]
  /** Resolves when the condition holds after a report of the sink; rejects with what it stands at after the bound. */
  until(condition: () => boolean, bound?: number): Promise<void>
}

/** A started sink with short times, stopped when the test is over. */
export function startSink(
  url: string,
  options: Partial<RabbitmqSinkOptions> & {
    readonly limits?: { messages: number; bytes: number }
    /** Also told of all that the sink reports. */
    readonly onProgress?: () => void
  } = {},
): SinkHarness {
  const window =
    options.window ??
    new ConfirmWindow(options.limits ?? { messages: 2000, bytes: 32 * 1024 * 1024 }, {
      order: options.order ?? 'commit',
    })
  const lines: string[] = []
  const states: SinkState[] = []
  const log = (fields: object, text: string) => {
    lines.push(`${text} ${JSON.stringify(fields, (_, value) => (value instanceof Error ? value.message : value))}`)
  }
  const sink = new RabbitmqSink({
    urls: async () => [url],
    exchanges: [],
    topology: noTopology,
    retry: { attempts: 3, initialDelay: 5, maxDelay: 20 },
    reconnect: { initialDelay: 5, maxDelay: 50 },
    mendInterval: 50,
    log: { info: log, warn: log },
    ...options,
    window,
  })
  const checks = new Set<() => void>()
  const reported = () => {
    options.onProgress?.()
    for (const check of [...checks]) check()
  }
  sink.start({
    onProgress: reported,
    onState: () => {
      states.push(sink.state)
      reported()
    },
  })
  onTestFinished(() => sink.stop())
  const until = (condition: () => boolean, bound = 4000) =>
    new Promise<void>((resolve, reject) => {
      const finish = (outcome: () => void) => {
        clearTimeout(timer)
        clearInterval(poll)
        checks.delete(check)
        outcome()
      }
      const check = () => {
        if (condition()) finish(resolve)
      }
      const describe = () =>
        `${sink.state} (${sink.reason?.message}), ${JSON.stringify(sink.counters)}, ${lines.join('\n')}`
      const timer = setTimeout(() => finish(() => reject(new Error(`not within ${bound} ms: ${describe()}`))), bound)
      // For what the sink does not report, as a counter that moves.
      const poll = setInterval(check, 5)
      checks.add(check)
      check()
    })
  return { window, sink, lines, states, until }
}
