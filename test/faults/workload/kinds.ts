import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { SeededRandom } from '../../support/seeded-random.ts'
import type { PreparedTransactions } from './prepared.ts'
import { Transaction, type TransactionParts } from './transaction.ts'

/** How many of a hundred or so transactions are of a kind. */
export const usualKinds = {
  /** One INSERT of one row, without BEGIN. */
  single: 30,
  /** Several INSERTs of several rows. */
  multi: 30,
  /** Two transactions whose statements alternate on two connections. */
  interleaved: 10,
  /** Savepoints released and rolled back. */
  savepoint: 10,
  aborted: 10,
  /** Rows deleted again before COMMIT: delivered all the same. */
  deleted: 5,
  /** PREPARE TRANSACTION, ended later by another statement. */
  prepared: 3,
  /** Open for up to three seconds beside the others. */
  long: 2,
} as const

export type Kind = keyof typeof usualKinds

export interface KindTools {
  readonly random: SeededRandom
  /** The writer's connection. */
  readonly parts: TransactionParts
  /** Another connection, for this transaction alone. */
  readonly withClient: <T>(work: (client: pg.Client) => Promise<T>) => Promise<T>
  /** Runs beside the writer; what it rejects with is ignored, as the ledger knows the outcome. */
  readonly beside: (work: Promise<void>) => void
  readonly prepared: PreparedTransactions
  readonly signal: AbortSignal
}

/** Runs one transaction; resolves with the rows it inserted. Rejects when the connection broke. */
export const kinds: Readonly<Record<Kind, (tools: KindTools) => Promise<number>>> = {
  async single({ parts }) {
    await new Transaction(parts).single(1)
    return 1
  },

  async multi({ parts, random }) {
    const transaction = await begin(parts)
    await insertSome(transaction, random)
    const { rows } = transaction
    await transaction.commit()
    return rows
  },

  async interleaved({ parts, random, withClient }) {
    return withClient(async (client) => {
      const both: Transaction[] = []
      try {
        for (const each of [parts, { ...parts, client }]) both.push(await begin(each))
        for (let n = random.between(2, 6); n > 0; n--) {
          const transaction = both[random.between(0, 1)]!
          await transaction.work(() => transaction.insert(random.between(1, 5)))
        }
      } catch (error) {
        // The one that failed has noted so itself; the other one is not going to be committed.
        for (const transaction of both) transaction.rolledBack()
        throw error
      }
      if (random.chance(0.5)) both.reverse()
      const rows = both.reduce((sum, transaction) => sum + transaction.rows, 0)
      const results = await Promise.allSettled(both.map((transaction) => transaction.commit()))
      for (const result of results) if (result.status === 'rejected') throw result.reason
      return rows
    })
  },

  async savepoint({ parts, random }) {
    const transaction = await begin(parts)
    await insertSome(transaction, random)
    for (let n = random.between(1, 3); n > 0; n--) {
      await transaction.work(async () => {
        const mark = transaction.mark()
        await transaction.query('SAVEPOINT s')
        await transaction.insert(random.between(1, 5))
        if (random.chance(0.5)) {
          await transaction.query('RELEASE SAVEPOINT s')
          return
        }
        await transaction.query('ROLLBACK TO SAVEPOINT s')
        transaction.rewind(mark)
      })
    }
    const { rows } = transaction
    await transaction.commit()
    return rows
  },

  async aborted({ parts, random }) {
    const transaction = await begin(parts)
    await insertSome(transaction, random)
    await transaction.rollback()
    return 0
  },

  async deleted({ parts, random }) {
    const transaction = await begin(parts)
    await insertSome(transaction, random)
    const { rows, ids } = transaction
    await transaction.work(
      async () => void (await transaction.query(`DELETE FROM ${parts.table} WHERE id = ANY ($1)`, [ids])),
    )
    await transaction.commit()
    return rows
  },

  async prepared({ parts, random, prepared, beside }) {
    const transaction = await begin(parts)
    await insertSome(transaction, random)
    const { rows } = transaction
    const outcome = random.chance(0.7) ? 'COMMIT' : 'ROLLBACK'
    const { ended } = await prepared.prepare(transaction, outcome, random.between(0, 1000))
    beside(ended)
    return outcome === 'COMMIT' ? rows : 0
  },

  async long({ parts, random, withClient, beside, signal }) {
    const open_ms = random.between(500, 3000)
    const work = withClient(async (client) => {
      const transaction = await begin({ ...parts, client })
      await insertSome(transaction, random)
      await delay(open_ms, undefined, { signal }).catch(() => undefined)
      await transaction.commit()
    })
    beside(work)
    return 10
  },
}

async function begin(parts: TransactionParts): Promise<Transaction> {
  const transaction = new Transaction(parts)
  await transaction.work(async () => void (await transaction.query('BEGIN')))
  return transaction
}

async function insertSome(transaction: Transaction, random: SeededRandom): Promise<void> {
  for (let n = random.between(1, 3); n > 0; n--) await transaction.work(() => transaction.insert(random.between(1, 10)))
}
