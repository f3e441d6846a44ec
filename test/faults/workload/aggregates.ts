import type { SeededRandom } from '../../support/seeded-random.ts'

/** Aggregate 12 of the first writer is `w0.12`: bindings can tell writers apart. */
export function writerName(writer: number): string {
  return `w${writer}`
}

/** The routing key of its events in the rig, `w0.12.Event3`. */
export function routingKeyOf(aggregate: string, type: string): string {
  return `${aggregate}.${type}`
}

/** One aggregate, while a transaction has it to itself: so its events commit in the order of their numbers. */
export interface Aggregate {
  readonly id: string
  /** The number of its next event. */
  next: number
}

/** A writer's aggregates. One that is taken is in one open transaction at most. */
export class Aggregates {
  readonly #writer: string
  readonly #random: SeededRandom
  readonly #free: Aggregate[] = []
  #made = 0

  constructor(writer: string, random: SeededRandom) {
    this.#writer = writer
    this.#random = random
  }

  take(): Aggregate {
    if (this.#free.length < 20) return { id: `${this.#writer}.${++this.#made}`, next: 1 }
    const [taken] = this.#free.splice(this.#random.between(0, this.#free.length - 1), 1)
    return taken ?? { id: `${this.#writer}.${++this.#made}`, next: 1 }
  }

  /** Not called for one whose last events are in doubt: its next number is not known. */
  giveBack(aggregate: Aggregate): void {
    this.#free.push(aggregate)
  }
}
