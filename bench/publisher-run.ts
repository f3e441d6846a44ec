import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { exchange } from './broker.ts'
import { eventPool } from './events.ts'
import type { Run } from './throughput.ts'

const program = fileURLToPath(new URL('plain-publisher.mjs', import.meta.url))

/** The default of sink.confirmWindow.messages. */
const window_messages = 2000

/** Publishes `events` messages by hand, in a process of its own, which measures itself. */
export async function runPublisher(url: string, events: number): Promise<Run> {
  // Without execArgv the child would inherit this process's TypeScript loader and its memory.
  const child = fork(program, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const exited = once(child, 'exit').then(([code]) => {
    throw new Error(`the plain publisher ended with exit code ${code} before it had an answer`)
  })
  // Expected after the answer; then nobody waits for it any more.
  exited.catch(() => undefined)
  child.send({ url, exchange, events, window: window_messages, pool: eventPool })
  const [answer] = (await Promise.race([once(child, 'message'), exited])) as [
    { elapsed_ms: number; cpu_us: number; peak_bytes: number },
  ]
  await exited.catch(() => undefined)
  return {
    events_perSecond: events / (answer.elapsed_ms / 1000),
    cpu_us_perEvent: answer.cpu_us / events,
    peak_bytes: answer.peak_bytes,
  }
}
