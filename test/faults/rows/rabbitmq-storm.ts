import type { FakeConnection, FakePublish } from '../../support/fake-amqp-server.ts'
import type { SeededRandom } from '../../support/seeded-random.ts'
import type { ScriptedBroker } from './rabbitmq-scripted.ts'

interface Taken {
  readonly tag: number
  verdict: 'open' | 'stored' | 'refused'
}

/** Right answers in the wildest form: late, many at once, `multiple` over `multiple`, single ones in between in any order. */
export class ConfirmStorm {
  readonly #broker: ScriptedBroker
  readonly #random: SeededRandom
  /** What has no answer yet, by connection, in order of their tags. */
  readonly #taken = new Map<FakeConnection, Taken[]>()

  constructor(broker: ScriptedBroker, random: SeededRandom) {
    this.#broker = broker
    this.#random = random
  }

  /** Every 50th is refused, all others are stored. */
  take(publish: FakePublish, n: number): void {
    const { connection, tag } = publish
    const taken: Taken = { tag, verdict: n % 50 === 0 ? 'refused' : 'open' }
    const all = this.#taken.get(connection) ?? []
    this.#taken.set(connection, all)
    all.push(taken)
    if (taken.verdict === 'refused') return
    this.#broker.store(publish, () => {
      taken.verdict = 'stored'
      // Now and then, or when nothing else is to come for a while.
      if (this.#random.chance(0.05) || all.every(({ verdict }) => verdict !== 'open')) this.#answer(connection, all)
    })
  }

  /** Answers what has been decided on from the oldest one, in one piece. */
  #answer(connection: FakeConnection, all: Taken[]): void {
    const open = all.findIndex(({ verdict }) => verdict === 'open')
    const decided = all.splice(0, open === -1 ? all.length : open)
    connection.together(() => {
      let run: number[] = []
      for (const { tag, verdict } of decided) {
        if (verdict === 'stored') run.push(tag)
        else {
          this.#confirm(connection, run)
          run = []
          // All before it are answered: it alone is meant.
          connection.nack(tag, this.#random.chance(0.5))
        }
      }
      this.#confirm(connection, run)
    })
  }

  /** These tags, which follow each other: some singly and out of order, then one or several multiple over the rest. */
  #confirm(connection: FakeConnection, run: readonly number[]): void {
    const last = run.at(-1)
    if (last === undefined) return
    const singles = run.slice(0, -1).filter(() => this.#random.chance(0.2))
    for (const tag of singles.reverse()) connection.ack(tag)
    const singly = new Set(singles)
    for (const tag of run) {
      if (tag === last || (!singly.has(tag) && this.#random.chance(0.1))) connection.ack(tag, true)
    }
  }
}
