import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { program, settingsOf } from './bridge-run.ts'
import { readUsage } from './process-usage.ts'
import type { Servers } from './servers.ts'

export interface CommandEnd {
  readonly code: number | null
  /** What it printed with --json. */
  readonly facts: Readonly<Record<string, unknown>>
  /** The most resident memory that was seen; the system keeps count, and it is read every 200 ms. */
  readonly peak_bytes: number
}

/** One command of the built program beside the bridge. `end` rejects unless it ended with 0 or by a signal. */
export interface RunningCommand {
  readonly isRunning: () => boolean
  readonly stop: () => void
  readonly end: Promise<CommandEnd>
}

export function startCommand(servers: Servers, args: readonly string[]): RunningCommand {
  const child = spawn(process.execPath, [program, ...args, '--json'], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...settingsOf(servers.postgresUrl, servers.rabbitUrl, 0) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const isRunning = () => child.exitCode === null && child.signalCode === null
  let peak_bytes = 0
  const watching = (async () => {
    for (; isRunning(); await delay(200)) {
      // Gone between the question and the answer: the last peak counts.
      const usage = await readUsage(child.pid!, '').catch(() => undefined)
      peak_bytes = Math.max(peak_bytes, usage?.peak_bytes ?? 0)
    }
  })()
  const end = once(child, 'close').then(async ([code, signal]) => {
    await watching
    if (code !== 0 && code !== 1 && signal === null) throw new Error(`wal2rabbit ${args.join(' ')}: ${code}\n${stderr}`)
    return { code, facts: stdout === '' ? {} : JSON.parse(stdout), peak_bytes }
  })
  end.catch(() => undefined) // looked at where somebody waits for it
  return { isRunning, stop: () => child.kill('SIGINT'), end }
}
