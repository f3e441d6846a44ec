import type { DeadLetter } from '../dead-letter/dead-letter.ts'
import type { Outcome } from '../dead-letter/publish-again.ts'
import { type CliContext, printNote } from './context.ts'
import { describeLetter } from './dead-letters-list.ts'
import { Progress } from './progress.ts'

/** Failures that are listed one by one. */
const listed_max = 100

/** Counts what a command does, and shows how far it is. */
export class Tally {
  readonly #context: CliContext
  readonly #total: number
  readonly #failures: object[] = []
  #delivered = 0
  #failed = 0
  #discarded = 0
  #waiting = 0
  readonly #progress: Progress

  /** `now` gives milliseconds. */
  constructor(context: CliContext, total: number, now: () => number = () => performance.now()) {
    this.#context = context
    this.#total = total
    this.#progress = new Progress(context, now)
  }

  get failed(): number {
    return this.#failed
  }

  /** For --json. */
  get facts(): object {
    return {
      delivered: this.#delivered,
      failedAgain: this.#failed,
      discarded: this.#discarded,
      waiting: this.#waiting,
      failures: this.#failures,
    }
  }

  add(letter: DeadLetter, outcome: Outcome | { readonly kind: 'discarded' }): void {
    if (outcome.kind === 'delivered') this.#delivered++
    if (outcome.kind === 'discarded') this.#discarded++
    if (outcome.kind === 'failed') {
      this.#failed++
      const { code, text } = outcome.refusal
      const attempts = letter.attempts + outcome.attempts
      if (this.#failures.length < listed_max)
        this.#failures.push({ ...describeLetter(letter), reason: { code, text }, attempts })
      if (this.#failed <= listed_max) {
        this.clear()
        printNote(this.#context, `failed again: event ${letter.eventId ?? 'without id'}: ${code}: ${text}`)
      }
    }
    this.#show()
  }

  /** `left`: dead letters of the selection that are still there. */
  finish(left: number, stopped: boolean): void {
    this.clear()
    this.#waiting = Math.max(0, left - this.#failed)
    const parts = [
      this.#discarded > 0 ? `${this.#discarded} discarded` : undefined,
      this.#discarded === 0 || this.#delivered > 0 ? `${this.#delivered} delivered` : undefined,
      this.#failed > 0 || this.#discarded === 0 ? `${this.#failed} failed again` : undefined,
      this.#waiting > 0
        ? `${this.#waiting} ${stopped ? 'left' : 'wait (behind another event, or taken by somebody)'}`
        : undefined,
    ]
    printNote(this.#context, parts.filter((part) => part !== undefined).join(', '))
  }

  /** Takes the bar away, for a line in its place. */
  clear(): void {
    this.#progress.clear()
  }

  #show(): void {
    const done = this.#delivered + this.#failed + this.#discarded
    const total = Math.max(this.#total, done) // what is parked behind the selection is not in the count
    this.#progress.show(() => ({ fraction: done / total, text: `${done} of ${total}` }))
  }
}
