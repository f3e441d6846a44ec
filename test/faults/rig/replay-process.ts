import { once } from 'node:events'
import { spawnCommand } from '../../support/bridge-process.ts'

export interface ProcessEnd {
  /** Null when it was killed. */
  readonly code: number | null
  readonly output: string
}

/** One process of `wal2rabbit replay`. */
export class ReplayProcess {
  readonly ended: Promise<ProcessEnd>
  readonly #child: ReturnType<typeof spawnCommand>
  #output = ''

  /** `failPoint`: `replay-row:3` kills itself at the third hit, see src/base/fail-point.ts. */
  constructor(args: readonly string[], env: Readonly<Record<string, string>>, failPoint: string | undefined) {
    // It gives way to all else on its machine, which here is other runs of tests: it would hardly run beside them.
    const imports = ['keep-priority.mjs']
    this.#child = spawnCommand(['replay', ...args], env, { imports, ...(failPoint !== undefined && { failPoint }) })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (data) => {
        this.#output += data
      })
    }
    this.ended = once(this.#child, 'close').then(([code]) => ({ code: code as number | null, output: this.#output }))
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** All that it wrote so far. */
  get output(): string {
    return this.#output
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}
