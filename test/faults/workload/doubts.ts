import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import type { Doubt, Ledger } from './ledger.ts'
import type { WithClient } from './prepared.ts'

/**
 * Finds out what became of transactions whose COMMIT nobody answered. Call it when the writers have ended. What stays in
 * doubt may have either outcome: a transaction that the server has forgotten, or one whose rows are not there.
 */
export async function resolveDoubts(ledger: Ledger, withClient: WithClient, table: string): Promise<void> {
  const deadline = Date.now() + 15_000
  for (const doubt of [...ledger.doubts]) {
    let outcome = await withClient((client) => ask(client, doubt, table))
    for (; outcome === 'in progress' && Date.now() < deadline; await delay(100)) {
      outcome = await withClient((client) => ask(client, doubt, table))
    }
    if (outcome === 'committed' || outcome === 'aborted') ledger.resolve(doubt, outcome)
  }
}

/**
 * `committed` is believed only with the rows: a transaction whose WAL was lost in a crash leaves its xid to another one,
 * which may have committed since. The other way round it cannot be: a commit that is durable keeps its xid.
 */
async function ask(client: pg.Client, { xid, rows }: Doubt, table: string): Promise<string | undefined> {
  const found = await client.query(`SELECT 1 FROM ${table} WHERE id = ANY ($1)`, [[...rows.keys()]])
  if (found.rowCount === rows.size && rows.size > 0) return 'committed'
  if (xid === undefined) return undefined
  const answer = await client.query<{ status: string | null }>('SELECT pg_xact_status($1::xid8) AS status', [xid])
  const status = answer.rows[0]?.status
  return status === 'committed' ? undefined : (status ?? undefined)
}
