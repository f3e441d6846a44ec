import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface DaemonOptions {
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly logFile: string
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
}

export interface Daemon {
  readonly pid: number
  running(): boolean
  /** Resolves when the process ended, with how: `exit code 1`, `signal SIGKILL`. */
  ended(): Promise<string>
  signal(name: NodeJS.Signals): void
}

/** Starts a server process in a session of its own: a Ctrl-C at the terminal is for the runner, not for the servers. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const log = openSync(options.logFile, 'a')
  const [file, ...args] = options.command
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: ['ignore', log, log],
    ...(options.user ?? {}),
  })
  closeSync(log)
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) => reject(new Error(`cannot run ${file}: ${cause.message}`, { cause })))
  })
  let running = true
  const exit = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      running = false
      resolve(signal === null ? `exit code ${code}` : `signal ${signal}`)
    })
  })
  child.unref()
  return {
    pid: child.pid ?? 0,
    running: () => running,
    ended: () => {
      // A running server does not keep the runner alive; waiting for its end does.
      child.ref()
      return exit
    },
    signal: (name) => {
      child.kill(name)
    },
  }
}

/** Polls until `ready`; a server that ends first, or takes longer than `bound` ms, is an error with the log's end. */
export async function untilReady(
  what: string,
  daemon: Daemon,
  logFile: string,
  bound: number,
  ready: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + bound
  while (!(await ready())) {
    if (!daemon.running()) throw new Error(`${what} ended while starting: ${await daemon.ended()}\n${tail(logFile)}`)
    if (Date.now() > deadline) throw new Error(`${what} did not start within ${bound} ms\n${tail(logFile)}`)
    await delay(50)
  }
}

function tail(logFile: string): string {
  return readFileSync(logFile, 'utf8').split('\n').slice(-25).join('\n')
}
