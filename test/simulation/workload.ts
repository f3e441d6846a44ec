import { type EventKind, type OutboxEvent, oddKinds } from './outbox-event.ts'
import { insertBytes } from './pgoutput-bytes.ts'
import type { World } from './world.ts'

interface OpenTransaction {
  /** Rows of each savepoint level; the innermost last. */
  levels: OutboxEvent[][]
}

const open_max = 3

/** Applications that write: open, insert, savepoint, roll back, commit, interleaved; and a busy rest of the database. */
export class Workload {
  readonly #world: World
  #open: OpenTransaction[] = []
  #count = 0

  constructor(world: World) {
    this.#world = world
  }

  /** One statement of one of the applications. */
  step(): void {
    const { random, postgres } = this.#world
    if (!postgres.running) {
      this.forget()
      return
    }
    const act = random.next()
    if (act < 0.08) postgres.write(BigInt(random.between(100, 100_000)))
    else if (act < 0.17) postgres.commit([])
    else this.#write()
  }

  #write(): void {
    const { random } = this.#world
    if (this.#open.length === 0 || (this.#open.length < open_max && random.chance(0.3))) {
      this.#open.push({ levels: [[]] })
      if (random.chance(0.5)) return
    }
    const one = this.#open[random.between(0, this.#open.length - 1)]!
    const act = random.next()
    if (act < 0.55) this.#insert(one)
    else if (act < 0.63) one.levels.push([])
    else if (act < 0.7 && one.levels.length > 1) this.#endSavepoint(one)
    else if (act < 0.75) this.#close(one)
    else this.#commit(one)
  }

  /** All that is open commits, back to back: a commit may begin where the last one ended. */
  commitAll(): void {
    for (const one of [...this.#open]) this.#commit(one)
  }

  /** The server is gone, and what was open with it. */
  forget(): void {
    this.#open = []
  }

  #insert(transaction: OpenTransaction): void {
    const { random, postgres } = this.#world
    for (let rows = random.chance(0.2) ? random.between(2, 6) : 1; rows > 0; rows--) {
      postgres.insert()
      transaction.levels.at(-1)!.push(this.#newEvent())
    }
  }

  /** Released or rolled back. */
  #endSavepoint({ levels }: OpenTransaction): void {
    const rows = levels.pop() ?? []
    if (this.#world.random.chance(0.5)) levels.at(-1)?.push(...rows)
  }

  #commit(transaction: OpenTransaction): void {
    this.#close(transaction)
    this.#world.postgres.commit(transaction.levels.flat())
  }

  #close(transaction: OpenTransaction): void {
    this.#open = this.#open.filter((one) => one !== transaction)
  }

  #newEvent(): OutboxEvent {
    const { random, profile } = this.#world
    const kind: EventKind =
      !profile.calm && random.chance(profile.oddChance) ? oddKinds[random.between(0, oddKinds.length - 1)]! : 'good'
    const id = `e${++this.#count}`
    const aggregateId = `a${random.between(1, profile.aggregates)}`
    const payload = `{"n": ${this.#count}}`
    const headers = kind === 'invalid' ? '{"CC": ["elsewhere"]}' : '{}'
    const exchange = kind === 'poison404' ? 'ghost' : null
    const createdAt = '2026-01-01 00:00:00+00'
    const insert = insertBytes([id, 'order', aggregateId, kind, payload, headers, createdAt, exchange])
    return { id, kind, aggregateId, payload, insert, commitLsn: 0n, endLsn: 0n, ordinal: 0 }
  }
}
