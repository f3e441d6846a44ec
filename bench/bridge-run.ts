import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../test/support/services.ts'
import { exchange } from './broker.ts'
import { type ProcessUsage, readUsage } from './process-usage.ts'

export const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const healthInterval_ms = 1000

/** The parts of `/api/status` that are read here. */
export interface BridgeReport {
  readonly state: string
  readonly reason: { readonly code: string; readonly message: string } | null
  readonly counters: { readonly published: number; readonly confirmed: number; readonly received: number }
  readonly lag: { readonly seconds: number }
}

/** The built program as an operator runs it: settings by environment only. */
export class BridgeRun {
  readonly #child: ChildProcess
  readonly #admin: string
  readonly #failed: Promise<never>
  #output = ''

  private constructor(command: string, settings: Readonly<Record<string, string>>, admin: string) {
    this.#admin = admin
    const inherited = Object.entries(process.env).filter(([name]) => !/^(WAL2RABBIT_|DATABASE_URL|AMQP_URL)/.test(name))
    this.#child = spawn(process.execPath, [program, command], {
      env: { ...Object.fromEntries(inherited), NODE_ENV: 'production', ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-8000)
      })
    }
    this.#failed = once(this.#child, 'close').then(([code, signal]) => {
      throw new Error(`wal2rabbit ${command} ended with ${signal ?? `exit code ${code}`}:\n${this.#output}`)
    })
    this.#failed.catch(() => undefined) // looked at where somebody waits for the bridge
  }

  /** `more` are settings of this run alone. */
  static async start(
    sourceUrl: string,
    sinkUrl: string,
    more: Readonly<Record<string, string>> = {},
  ): Promise<BridgeRun> {
    const port = await freePort()
    return new BridgeRun('run', { ...settingsOf(sourceUrl, sinkUrl, port), ...more }, `http://127.0.0.1:${port}`)
  }

  /** `wal2rabbit init`: table, publication, slot, bookkeeping. */
  static async init(sourceUrl: string, sinkUrl: string): Promise<void> {
    if (!existsSync(program)) throw new Error('dist/cli/main.js is missing: build first, with npm run build')
    const run = new BridgeRun('init', settingsOf(sourceUrl, sinkUrl, 0), '')
    const [code] = await once(run.#child, 'close')
    if (code !== 0) throw new Error(`wal2rabbit init ended with exit code ${code}:\n${run.#output}`)
  }

  /** Waits for something that the bridge brings about; rejects when it ends or halts meanwhile. */
  async during<T>(awaited: Promise<T>, bound_ms: number): Promise<T> {
    const over = new AbortController()
    try {
      return await Promise.race([awaited, this.#failed, this.#watch(bound_ms, over.signal)])
    } finally {
      over.abort()
    }
  }

  async #watch(bound_ms: number, over: AbortSignal): Promise<never> {
    const deadline = performance.now() + bound_ms
    let last: BridgeReport | undefined
    while (!over.aborted) {
      await delay(healthInterval_ms)
      if (over.aborted) break
      last = await this.status().catch(() => undefined) // it may not listen yet
      if (last?.state === 'halted') throw new Error(`the bridge halted: ${last.reason?.code} ${last.reason?.message}`)
      if (performance.now() > deadline) {
        throw new Error(`nothing within ${bound_ms} ms; last status ${JSON.stringify(last)}\n${this.#output}`)
      }
    }
    return new Promise(() => {}) // whoever raced this one has its answer
  }

  /** Polls quickly until so many are confirmed: meant for the last moments of a backlog, as each look costs the bridge. */
  async untilConfirmed(events: number, interval_ms = 5): Promise<void> {
    while ((await this.status()).counters.confirmed < events) await delay(interval_ms)
  }

  /** Polls until it streams. */
  async untilStreaming(): Promise<void> {
    while ((await this.status().catch(() => undefined))?.state !== 'streaming') await delay(50)
  }

  async status(): Promise<BridgeReport> {
    const response = await fetch(`${this.#admin}/api/status`)
    return (await response.json()) as BridgeReport
  }

  usage(): Promise<ProcessUsage> {
    return readUsage(this.#child.pid!, this.#admin)
  }

  /** Lets it drain and store. */
  async stop(): Promise<void> {
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 20_000)
    this.#child.kill('SIGTERM')
    await this.#failed.catch(() => undefined)
    clearTimeout(force)
  }
}

export function settingsOf(sourceUrl: string, sinkUrl: string, port: number): Record<string, string> {
  return {
    WAL2RABBIT_SOURCE_URL: sourceUrl,
    WAL2RABBIT_SINK_URL: sinkUrl,
    WAL2RABBIT_SINK_EXCHANGE: exchange,
    WAL2RABBIT_ADMIN_PORT: String(port),
    WAL2RABBIT_LOG_LEVEL: 'warn',
  }
}
