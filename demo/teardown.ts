/** What has to be undone, each put down on the line that made it; the last made is undone first. */
export class Teardown {
  readonly #steps: (() => Promise<unknown>)[] = []

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step)
  }

  /** Runs every step, also after one that fails; says which did. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop())
      try {
        await step()
      } catch (error) {
        process.stderr.write(`while cleaning up: ${error instanceof Error ? error.message : String(error)}\n`)
      }
  }
}
