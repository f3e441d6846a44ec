import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import type { Status } from '../../src/admin/status.ts'
import { runProgram } from '../../src/cli/program.ts'
import { contextOn } from './cli-context.ts'
import { freePort } from './services/ports.ts'

const main = resolve(import.meta.dirname, '../../dist/cli/main.js')

/** Our own environment without any setting of the bridge: a test's child knows only what the test gives it. */
export function ownEnvironment(env: Record<string, string>): Record<string, string | undefined> {
  const foreign = Object.entries(process.env).filter(([name]) => !/^WAL2RABBIT_|^(DATABASE|AMQP)_URL$/.test(name))
  return { ...Object.fromEntries(foreign), ...env }
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface SpawnOptions extends Pick<CommandOptions, 'failPoint'> {
  /** Files of this folder for `node --import`. */
  readonly imports?: readonly string[]
}

/** Starts a command of the built command line. */
export function spawnCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  { failPoint, imports = [] }: SpawnOptions = {},
): ChildProcessByStdio<null, Readable, Readable> {
  const files = failPoint === undefined ? imports : ['fail-points.mjs', ...imports]
  const nodeOptions = files.flatMap((file) => ['--import', resolve(import.meta.dirname, file)])
  return spawn(process.execPath, [...nodeOptions, main, ...args], {
    env: ownEnvironment({ ...env, ...(failPoint !== undefined && { WAL2RABBIT_FAIL_POINT: failPoint }) }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** What makes a process of the built program send itself a signal at a fail-point: `name[:nth[:signal]]`. */
export function atFailPoint(setting: string): { readonly nodeOptions: string[]; readonly env: Record<string, string> } {
  const file = resolve(import.meta.dirname, 'fail-points.mjs')
  return { nodeOptions: ['--import', file], env: { WAL2RABBIT_FAIL_POINT: setting } }
}

export interface CommandOptions {
  /** SIGKILL after so many milliseconds. */
  readonly killAfter?: number
  /** SIGKILL so many milliseconds after it first said something on standard error. */
  readonly killAfterNote?: number
  /** The process kills itself there: `name` or `name:nth`, see src/base/fail-point.ts. */
  readonly failPoint?: string
  /** Sent when `when` resolves. */
  readonly signal?: NodeJS.Signals
  readonly when?: Promise<unknown>
  /** True for a process of its own, where nothing else asks for one: to start one takes longer than most commands. */
  readonly ownProcess?: boolean
}

/** Runs a command to its end: within this process, or, if it runs for ever or is to be killed or stopped, in one of the built program. */
export async function runCommand(
  args: readonly string[],
  env: Record<string, string>,
  options: CommandOptions = {},
): Promise<CommandResult> {
  if (args[0] !== 'run' && Object.keys(options).length === 0) return runWithin(args, env)
  const { killAfter, killAfterNote, failPoint, signal, when } = options
  const child = spawnCommand(args, env, { ...(failPoint !== undefined && { failPoint }) })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data) => {
    stdout += data
  })
  let killer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter)
  child.stderr.on('data', (data) => {
    stderr += data
    if (killAfterNote !== undefined) killer ??= setTimeout(() => child.kill('SIGKILL'), killAfterNote)
  })
  const closed = once(child, 'close')
  if (signal !== undefined) {
    await Promise.race([when, closed])
    child.kill(signal)
  }
  const [code] = (await closed) as [number | null]
  clearTimeout(killer)
  return { code, stdout, stderr }
}

async function runWithin(args: readonly string[], env: Record<string, string>): Promise<CommandResult> {
  const printed = { stdout: '', stderr: '' }
  const stdout = { write: (text: string) => (printed.stdout += text) }
  const stderr = { write: (text: string) => (printed.stderr += text) }
  const code = await runProgram(args, contextOn(stdout, stderr, ownEnvironment(env)))
  return { code, ...printed }
}

/** `wal2rabbit run` as a process of its own, so that it can be killed as in production. */
export class BridgeProcess {
  readonly env: Record<string, string>
  readonly url: string
  /** Everything that it wrote, over all of its starts. */
  log = ''
  #child: ChildProcess | undefined

  private constructor(env: Record<string, string>, port: number) {
    this.env = { ...env, WAL2RABBIT_ADMIN_PORT: String(port) }
    this.url = `http://127.0.0.1:${port}`
  }

  static async create(env: Record<string, string>): Promise<BridgeProcess> {
    return new BridgeProcess(env, await freePort())
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** `env` is for this start only. */
  start(nodeOptions: readonly string[] = [], env: Readonly<Record<string, string>> = {}): void {
    const child = spawn(process.execPath, [...nodeOptions, main, 'run'], {
      env: ownEnvironment({ ...this.env, ...env }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const keep = (data: Buffer) => {
      this.log += data
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    this.#child = child
  }

  async status(): Promise<Status | undefined> {
    try {
      const response = await fetch(`${this.url}/api/status`, { signal: AbortSignal.timeout(5000) })
      return (await response.json()) as Status
    } catch {
      // Not listening: before the start, or after the end. Or stopped.
      return undefined
    }
  }

  get isRunning(): boolean {
    const child = this.#child
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** Resolves when the process that was started last is gone, with how; rejects after `timeout` ms. */
  async exited(timeout = 30_000): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
    const child = this.#child
    if (child === undefined) throw new Error('the bridge was never started')
    if (this.isRunning) {
      await once(child, 'close', { signal: AbortSignal.timeout(timeout) }).catch((cause: unknown) => {
        throw new Error(`the bridge did not end within ${timeout} ms\n${this.log.slice(-3000)}`, { cause })
      })
    }
    return { code: child.exitCode, signal: child.signalCode }
  }

  /** Resolves with the first status that fits; rejects after `timeout` ms with the last one and the log's end. */
  async until(condition: (status: Status) => boolean, timeout = 30_000, what = 'the state asked for'): Promise<Status> {
    const deadline = Date.now() + timeout
    for (let status = await this.status(); ; status = await this.status()) {
      if (status !== undefined && condition(status)) return status
      if (Date.now() > deadline) {
        throw new Error(`${what}: not within ${timeout} ms; ${JSON.stringify(status)}\n${this.log.slice(-3000)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Resolves when the process is stopped, as by SIGSTOP; rejects after 30 seconds. Linux only. */
  async untilStopped(): Promise<void> {
    const deadline = Date.now() + 30_000
    while (!/\) [Tt] /.test(await readFile(`/proc/${this.pid}/stat`, 'utf8'))) {
      if (Date.now() > deadline) throw new Error(`the bridge did not stop\n${this.log.slice(-3000)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Sends a signal and waits for the end; resolves with the exit code (null when killed). */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    child.kill(signal)
    const [code] = (await once(child, 'close')) as [number | null]
    return code
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }
}
