/** A pass may last for hours, and between two looks nobody is asked; milliseconds. */
const lookInterval = 1000

export interface FloorGuardOptions {
  /** Commits the floor: every row that goes has committed below it. Rejects with errors of the client. */
  readonly raise: () => Promise<void>
  /** Who needs what is about to go; undefined when nobody does. Rejects with errors of the client. */
  readonly look: () => Promise<string | undefined>
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number
}

/** Somebody came to need rows that were about to go. */
export class NeededAgain extends Error {
  constructor(who: string) {
    super(`${who} began to need rows that were about to go`)
  }
}

/**
 * What is to be awaited before anything goes. Raises the floor once, then looks who needs it: a replay that began in
 * between has either seen the floor, or is seen here. Looks again as the pass goes on, for a rewind, a replay or a
 * backfill that begins meanwhile. Rejects with NeededAgain.
 */
export class FloorGuard {
  readonly #options: FloorGuardOptions
  readonly #now: () => number
  #lookedAt: number | undefined

  constructor(options: FloorGuardOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** From then on something may be gone. */
  get isRaised(): boolean {
    return this.#lookedAt !== undefined
  }

  async beforeRows(): Promise<void> {
    if (this.#lookedAt === undefined) await this.beforeFirst()
    else if (this.#now() - this.#lookedAt >= lookInterval) await this.#look()
  }

  /** Before a transaction that ends with beforePartition(), as the floor has to be committed first. */
  async beforeFirst(): Promise<void> {
    if (this.#lookedAt !== undefined) return
    await this.#options.raise()
    await this.#look()
  }

  /** In the transaction that drops it. A whole partition is much at once, so this always looks. */
  async beforePartition(): Promise<void> {
    await this.#look()
  }

  async #look(): Promise<void> {
    // Also when somebody does: the floor is raised by then.
    this.#lookedAt = this.#now()
    const who = await this.#options.look()
    if (who !== undefined) throw new NeededAgain(who)
  }
}
