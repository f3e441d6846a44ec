import { type CliContext, printNote } from './context.ts'

/** Milliseconds between two lines of progress where there is no terminal, and between two bars where there is one. */
const lineInterval = 5000
const barInterval = 100
const barWidth = 30

/** How far a command is: a bar on a terminal, a line every few seconds elsewhere; on standard error. */
export class Progress {
  readonly #context: CliContext
  readonly #now: () => number
  #shownAt: number
  #bar = false

  /** `now` gives milliseconds. */
  constructor(context: CliContext, now: () => number = () => performance.now()) {
    this.#context = context
    this.#now = now
    this.#shownAt = now()
  }

  /** Shows it, if it is time; `fraction` from 0 to 1, undefined when it is not known. */
  show(describe: () => { readonly fraction: number | undefined; readonly text: string }): void {
    const terminal = this.#context.stderr.isTTY === true
    const now = this.#now()
    if (now - this.#shownAt < (terminal ? barInterval : lineInterval)) return
    this.#shownAt = now
    const { fraction, text } = describe()
    if (!terminal) {
      printNote(this.#context, text)
      return
    }
    const filled = Math.round(Math.min(1, Math.max(0, fraction ?? 0)) * barWidth)
    this.#context.stderr.write(`\r[${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}] ${text}\u001b[K`)
    this.#bar = true
  }

  /** Takes the bar away, for a line in its place. */
  clear(): void {
    if (this.#bar) this.#context.stderr.write('\r\u001b[2K')
    this.#bar = false
  }
}
