import type { CliContext } from './context.ts'
import { type StopSignals, stopOnSignals } from './stop-signals.ts'

/**
 * SIGINT and SIGTERM from before a replay is planned until its end is recorded. At the first one what only looks is cut
 * short, and what publishes is told; a second one ends the process.
 */
export class ReplayStop {
  readonly #asked = new AbortController()
  readonly #signals: StopSignals
  #text = 'stopping'

  constructor(context: CliContext) {
    this.#signals = stopOnSignals(context, () => {}, { text: () => this.#text, onAsked: () => this.#asked.abort() })
  }

  get asked(): boolean {
    return this.#asked.signal.aborted
  }

  /**
   * What `work` gives; undefined as soon as a stop is asked for. It may only look, and take nothing that outlives the
   * process: what it still does by then ends with that.
   */
  async cut<T>(work: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#asked
    if (signal.aborted) return undefined
    const stopped = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    return Promise.race([work(), stopped])
  }

  /** From here on the first signal says `text`, and `halt` ends what is under way; at once where it has come already. */
  tell(halt: () => void, text = this.#text): void {
    this.#text = text
    if (this.asked) halt()
    else this.#asked.signal.addEventListener('abort', halt, { once: true })
  }

  dispose(): void {
    this.#signals.dispose()
  }
}
