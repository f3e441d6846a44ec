import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const keptOutput_bytes = 16 * 1024

/** How a process of the bridge ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** One command of the bridge in a process of its own, as an operator would start it: settings by environment only. */
export class BridgeProcess {
  readonly exited: Promise<Exit>
  readonly #command: string
  readonly #child: ChildProcess
  #output = ''

  /** `folder` has no wal2rabbit.yaml, so that nothing but `settings` counts. */
  constructor(command: string, settings: Readonly<Record<string, string>>, folder: string) {
    this.#command = command
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(WAL2RABBIT_|DATABASE_URL$|AMQP_URL$)/.test(name),
    )
    this.#child = spawn(process.execPath, [program, command], {
      cwd: folder,
      env: { ...Object.fromEntries(inherited), ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-keptOutput_bytes)
      })
    this.exited = once(this.#child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  /** What it wrote last, to show when it failed. */
  get output(): string {
    return this.#output
  }

  /** Resolves when it ended with exit code 0; rejects with its output otherwise. */
  async succeeded(): Promise<void> {
    const { code, signal } = await this.exited
    if (code !== 0)
      throw new Error(
        `"wal2rabbit ${this.#command}" ended with ${signal ?? `exit code ${code}`} (0 was expected):\n${this.#output}`,
      )
  }

  /** Rejects when it ends; never resolves. For racing against what waits for the bridge. */
  async died(): Promise<never> {
    const { code, signal } = await this.exited
    throw new Error(
      `"wal2rabbit ${this.#command}" ended by itself with ${signal ?? `exit code ${code}`}:\n${this.#output}`,
    )
  }

  /** Asks for a drain, and ends it by force after `bound` milliseconds. */
  async stop(bound = 15_000): Promise<Exit> {
    this.#child.kill('SIGTERM')
    const force = setTimeout(() => this.#child.kill('SIGKILL'), bound)
    const exit = await this.exited
    clearTimeout(force)
    return exit
  }
}
