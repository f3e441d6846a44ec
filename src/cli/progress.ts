import { type CliContext, printNote } from './context.ts'

/** Milliseconds between two lines of progress where there is no terminal, and between two bars where there is one. */
const lineInterval = 5000
const barInterval = 100
const barWidth = 30
/** A shorter one says nothing: the text alone is shown. */
const barWidth_least = 10

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
    // A line that wraps would stay behind with every bar.
    const columns = this.#context.stderr.columns ?? 80
    const width = Math.max(0, Math.min(barWidth, columns - text.length - 4))
    const filled = Math.round(Math.min(1, Math.max(0, fraction ?? 0)) * width)
    // An empty one would say that nothing is done.
    const bar =
      width < barWidth_least || fraction === undefined ? '' : `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] `
    this.#context.stderr.write(`\r${(bar + this.#context.scrub(text)).slice(0, columns - 1)}\u001b[K`)
    this.#bar = true
  }

  /** Takes the bar away, for a line in its place. */
  clear(): void {
    if (this.#bar) this.#context.stderr.write('\r\u001b[2K')
    this.#bar = false
  }
}
