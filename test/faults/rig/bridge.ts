import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Status } from '../../../src/admin/status.ts'
import { BridgeProcess } from '../../support/bridge-process.ts'
import type { TcpProxy } from '../../support/tcp-proxy.ts'

/** The proxies that a bridge connects through; all bridges of a scene share them unless it has `ownLinks`. */
export interface Links {
  readonly postgres: TcpProxy
  readonly rabbit: TcpProxy
}

export interface StartOptions {
  /** `published:3`: kills itself at the third hit, see src/base/fail-point.ts. */
  readonly failPoint?: string
  /** Files for `node --import`, absolute or below test/support. */
  readonly imports?: readonly string[]
  /** Such as `--max-old-space-size=128`. */
  readonly nodeOptions?: readonly string[]
  /** For this start only. */
  readonly env?: Readonly<Record<string, string>>
}

const startMark = '{"msg":"started by the rig"}'

/** Counted in the log, as a poll would miss one that is followed by a kill. */
export function countBrokerLosses(log: string): number {
  let losses = 0
  for (const run of log.split(startMark)) {
    let connected = false
    for (const [, state] of run.matchAll(/"sink":"(\w+)"/g)) {
      const now = state === 'open' || state === 'blocked' || state === 'stuck'
      if (connected && !now) losses++
      connected = now
    }
  }
  return losses
}

const support = resolve(import.meta.dirname, '../../support')

/** `wal2rabbit run` as a process of its own, that can be killed, stopped and asked. */
export class RigBridge {
  /** The most resident memory of any of its processes, bytes. */
  residentBytes = 0
  readonly name: string
  readonly links: Links
  readonly #process: BridgeProcess
  #isPaused = false

  private constructor(name: string, process: BridgeProcess, links: Links) {
    this.name = name
    this.links = links
    this.#process = process
  }

  static async create(name: string, env: Record<string, string>, links: Links): Promise<RigBridge> {
    return new RigBridge(name, await BridgeProcess.create(env), links)
  }

  get env(): Record<string, string> {
    return this.#process.env
  }

  /** Everything that it wrote, over all of its starts. */
  get log(): string {
    return this.#process.log
  }

  /** How often a connection to the broker was lost, over all of its starts. */
  get brokerLosses(): number {
    return countBrokerLosses(this.log)
  }

  get url(): string {
    return this.#process.url
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  get isRunning(): boolean {
    return this.#process.isRunning
  }

  /** Does not wait: see until(). */
  start({ failPoint, imports = [], nodeOptions = [], env = {} }: StartOptions = {}): void {
    if (this.isRunning) throw new Error(`${this.name} runs already`)
    const files = failPoint === undefined ? imports : [resolve(support, 'fail-points.mjs'), ...imports]
    const flags = files.flatMap((file) => ['--import', pathToFileURL(resolve(support, file)).href])
    this.#isPaused = false
    this.#process.log += `${startMark}\n`
    this.#process.start([...nodeOptions, ...flags], {
      ...(failPoint !== undefined && { WAL2RABBIT_FAIL_POINT: failPoint }),
      ...env,
    })
  }

  /** Undefined when nobody answers. */
  async status(): Promise<Status | undefined> {
    return this.#isPaused ? undefined : this.#process.status()
  }

  /** Resolves with the first status that fits; rejects after `timeout` ms with the last one and the log's end. */
  until(condition: (status: Status) => boolean, timeout = 30_000, what = 'the state asked for'): Promise<Status> {
    return this.#process.until(condition, timeout, `${this.name}: ${what}`)
  }

  /** Whether the readiness page says so. */
  async ready(): Promise<boolean> {
    return (await this.page('/readyz'))?.status === 200
  }

  /** A page of the HTTP server; undefined when nobody answers. */
  async page(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    if (this.#isPaused) return undefined
    try {
      const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(2000) })
      return { status: response.status, text: await response.text() }
    } catch {
      // Not listening, or stopped.
      return undefined
    }
  }

  async kill(): Promise<void> {
    await this.#process.end('SIGKILL')
    this.#isPaused = false
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | null> {
    this.resume()
    return this.#process.end('SIGTERM')
  }

  /** SIGSTOP: sockets stay open and silent. */
  pause(): void {
    this.#process.signal('SIGSTOP')
    this.#isPaused = true
  }

  resume(): void {
    if (this.#isPaused) this.#process.signal('SIGCONT')
    this.#isPaused = false
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal)
  }

  /** Resolves when it has ended by itself, with how. */
  exited(timeout?: number): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }> {
    return this.#process.exited(timeout)
  }

  /** Resolves when it has died at its fail-point; rejects when it ended otherwise, or not within `timeout` ms. */
  async died(timeout?: number): Promise<void> {
    const { code, signal } = await this.exited(timeout)
    if (signal !== 'SIGKILL') throw new Error(`${this.name} ended with ${code ?? signal}\n${this.log.slice(-3000)}`)
  }

  /** Notes the memory of the process; nothing where there is no /proc. */
  async noteMemory(): Promise<void> {
    const { pid } = this
    if (pid === undefined || !this.isRunning) return
    const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]
    this.residentBytes = Math.max(this.residentBytes, Number(kilobytes ?? 0) * 1024)
  }
}
