import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Transaction } from './transaction.ts'

export type WithClient = <T>(work: (client: pg.Client) => Promise<T>) => Promise<T>

/** Ends prepared transactions, if need be after a restart of the server, from another connection than they were made on. */
export class PreparedTransactions {
  readonly #withClient: WithClient
  readonly #signal: AbortSignal
  readonly #prefix: string
  #made = 0

  /** `signal`: ends the waiting before an outcome. The prefix makes the names unique on the server. */
  constructor(prefix: string, withClient: WithClient, signal: AbortSignal) {
    this.#prefix = prefix
    this.#withClient = withClient
    this.#signal = signal
  }

  /** Resolves once prepared; `ended` is the end of it. */
  async prepare(
    transaction: Transaction,
    outcome: 'COMMIT' | 'ROLLBACK',
    after_ms: number,
  ): Promise<{ readonly ended: Promise<void> }> {
    const name = `${this.#prefix}_${++this.#made}`
    let broken: unknown
    await transaction.query(`PREPARE TRANSACTION '${name}'`).catch((error: unknown) => {
      broken = error
    })
    const ended = this.#end(name, transaction, outcome, after_ms)
    if (broken !== undefined) {
      // Prepared or rolled back: #end finds out. The writer needs another connection.
      await ended
      throw broken
    }
    return { ended }
  }

  async #end(name: string, transaction: Transaction, outcome: 'COMMIT' | 'ROLLBACK', after_ms: number): Promise<void> {
    await delay(after_ms, undefined, { signal: this.#signal }).catch(() => undefined)
    const deadline = Date.now() + 120_000
    const asked = { outcome, before: false }
    for (; Date.now() < deadline; await delay(100)) {
      try {
        const ended = await this.#withClient((client) => endOnce(client, name, transaction.xid, asked))
        if (ended === 'committed') return transaction.committed()
        if (ended === 'aborted') return transaction.rolledBack()
      } catch {
        // The connection broke: the next round finds out what became of it.
      }
    }
    transaction.inDoubt()
  }
}

/** Undefined while it is neither prepared nor over: the backend of the first connection still works on it. */
async function endOnce(
  client: pg.Client,
  name: string,
  xid: string | undefined,
  asked: { readonly outcome: 'COMMIT' | 'ROLLBACK'; before: boolean },
): Promise<'committed' | 'aborted' | undefined> {
  const found = await client.query('SELECT 1 FROM pg_prepared_xacts WHERE gid = $1', [name])
  if (found.rowCount === 1) {
    asked.before = true
    await client.query(`${asked.outcome} PREPARED '${name}'`)
    return asked.outcome === 'COMMIT' ? 'committed' : 'aborted'
  }
  const { rows } = await client.query<{ status: string | null }>('SELECT pg_xact_status($1::xid8) AS status', [xid])
  const status = rows[0]?.status
  if (status === 'in progress') return undefined
  // Never prepared, as far as anybody knows: then it has rolled back, whoever has its xid after a crash.
  if (!asked.before) return 'aborted'
  return status === 'committed' || status === 'aborted' ? status : undefined
}
