import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import type { SeededRandom } from '../../support/seeded-random.ts'
import type { WrittenRow } from '../checkers/history.ts'
import { type Aggregate, type Aggregates, routingKeyOf } from './aggregates.ts'
import { digestOf } from './digest.ts'
import type { Ledger } from './ledger.ts'

/** Written into every payload; it may show up in no log, status or metric. */
export const payloadCanary = 'payl0ad-c4nary'

export interface TransactionParts {
  readonly client: pg.Client
  readonly table: string
  readonly random: SeededRandom
  readonly aggregates: Aggregates
  readonly ledger: Ledger
}

interface Mark {
  readonly rows: number
  readonly next: readonly (readonly [Aggregate, number])[]
}

/**
 * One transaction on a connection. Whatever fails before its end has rolled it back; whatever fails in COMMIT leaves its
 * outcome in doubt. Both are noted in the ledger, then the error goes on.
 */
export class Transaction {
  readonly #parts: TransactionParts
  readonly #aggregates: readonly Aggregate[]
  readonly #started: Mark
  #rows: [string, WrittenRow][] = []
  #xid: string | undefined
  #isOver = false

  constructor(parts: TransactionParts) {
    this.#parts = parts
    const count = parts.random.chance(0.8) ? 1 : 3
    this.#aggregates = Array.from({ length: count }, () => parts.aggregates.take())
    this.#started = this.mark()
  }

  get rows(): number {
    return this.#rows.length
  }

  get ids(): string[] {
    return this.#rows.map(([id]) => id)
  }

  get xid(): string | undefined {
    return this.#xid
  }

  /** Runs statements that may fail: then the transaction has rolled back. */
  async work(statements: () => Promise<void>): Promise<void> {
    try {
      await statements()
    } catch (error) {
      this.rolledBack()
      throw error
    }
  }

  query(sql: string, values: unknown[] = []): Promise<pg.QueryResult> {
    return this.#parts.client.query(sql, values)
  }

  /** One INSERT of so many rows of one of the aggregates. */
  async insert(count: number): Promise<void> {
    const { client, table, random } = this.#parts
    const aggregate = this.#aggregates[random.between(0, this.#aggregates.length - 1)]!
    const rows = Array.from({ length: count }, () => {
      const sequence = aggregate.next++
      const type = `Event${random.between(1, 5)}`
      const id = randomUUID()
      const note = 'x'.repeat(random.between(0, 120))
      const payload = `{"id": "${id}", "note": "€ 😀 \\" ${payloadCanary} ${note}", "sequence": ${sequence}}`
      const digest = digestOf({
        routingKey: routingKeyOf(aggregate.id, type),
        type,
        aggregate: aggregate.id,
        sequence,
        body: payload,
      })
      return { id, type, payload, written: { aggregate: aggregate.id, sequence, digest } }
    })
    for (const { id, written } of rows) this.#rows.push([id, written])
    const { rows: answer } = await client.query<{ xid: string }>(
      `INSERT INTO ${table} (id, aggregate_type, aggregate_id, type, payload, headers)
       SELECT i, 'order', $2, t, p, jsonb_build_object('sequence', s)
       FROM unnest($1::uuid[], $3::text[], $4::jsonb[], $5::int[]) AS u (i, t, p, s)
       RETURNING pg_current_xact_id()::text AS xid`,
      [
        rows.map(({ id }) => id),
        aggregate.id,
        rows.map(({ type }) => type),
        rows.map(({ payload }) => payload),
        rows.map(({ written }) => written.sequence),
      ],
    )
    this.#xid = answer[0]?.xid
  }

  mark(): Mark {
    return {
      rows: this.#rows.length,
      next: this.#aggregates.map((aggregate) => [aggregate, aggregate.next] as const),
    }
  }

  /** The rows since the mark were rolled back. */
  rewind(mark: Mark): void {
    this.#parts.ledger.abort(this.#rows.splice(mark.rows).map(([id]) => id))
    for (const [aggregate, next] of mark.next) aggregate.next = next
  }

  /** Does nothing after the end, so that whoever gives up may call it for all that may still be open. */
  rolledBack(): void {
    if (this.#isOver) return
    this.rewind(this.#started)
    this.#giveBack()
  }

  committed(): void {
    this.#parts.ledger.commit(new Map(this.#rows))
    this.#giveBack()
  }

  /** Nobody answered to the COMMIT. The aggregates are not used again: their next numbers are not known. */
  inDoubt(): void {
    this.#isOver = true
    this.#parts.ledger.doubt({ xid: this.#xid, rows: new Map(this.#rows) })
  }

  async commit(): Promise<void> {
    try {
      await this.query('COMMIT')
    } catch (error) {
      this.inDoubt()
      throw error
    }
    this.committed()
  }

  /** An INSERT that is a transaction by itself. */
  async single(count: number): Promise<void> {
    try {
      await this.insert(count)
    } catch (error) {
      this.inDoubt()
      throw error
    }
    this.committed()
  }

  async rollback(): Promise<void> {
    await this.work(async () => void (await this.query('ROLLBACK')))
    this.rolledBack()
  }

  #giveBack(): void {
    this.#isOver = true
    for (const aggregate of this.#aggregates) this.#parts.aggregates.giveBack(aggregate)
  }
}
