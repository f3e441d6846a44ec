import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent } from '../base/sql.ts'
import type { OutboxFacts } from './outbox-facts.ts'
import { momentSql, unstreamedSql } from './row-conditions.ts'

/** For a look at the whole table, which finds nothing early where nothing is; milliseconds. */
const lookTimeout = 1000

/**
 * `unstreamed_below` of the slot's checkpoint: an xid8 as text, or null where the slot has streamed all. Undefined when
 * there is no checkpoint. Errors are those of the client.
 */
export async function readUnstreamedBelow(client: PostgresClient, slot: string): Promise<string | null | undefined> {
  const text = 'SELECT unstreamed_below::text AS below FROM wal2rabbit.checkpoint WHERE slot = $1'
  const row = (await client.query({ text, values: [slot] })).rows[0]
  return row?.below as string | null | undefined
}

/** What an operator should know where old rows stay for this reason. */
export function unstreamedNotice({ name, transactionId }: OutboxFacts, slot: string): string {
  const column = transactionId === undefined ? 'xmin' : quoteIdent(transactionId.name)
  return `old rows of ${name} are kept: slot ${slot} may never have streamed them, as they are older than the slot or lie in a gap that was accepted (${column} below unstreamed_below of wal2rabbit.checkpoint); publish those that are needed again, then delete them by hand: see "rows that were never streamed" in docs/operations.md`
}

/**
 * Whether the table holds rows older than `age` milliseconds that the slot may not have streamed; false also when that
 * cannot be told soon. Errors are those of the client.
 */
export async function hasUnstreamed(
  client: PostgresClient,
  facts: OutboxFacts,
  age: number,
  below: string,
): Promise<boolean> {
  const cutoff = momentSql(facts, `(clock_timestamp() - $1 * interval '1 millisecond')`)
  const unstreamed = unstreamedSql(facts, '$2')
  const old = `o.${quoteIdent(facts.createdAt!.name)} < ${cutoff}`
  await client.query({ text: `BEGIN; SET LOCAL statement_timeout = ${lookTimeout}` })
  try {
    const text = `SELECT EXISTS (SELECT FROM ${facts.from} o WHERE ${old} AND ${unstreamed}) AS found`
    return (await client.query({ text, values: [age, below] })).rows[0]!.found === true
  } catch (error) {
    if ((error as { code?: unknown }).code === '57014') return false
    throw error
  } finally {
    await client.query({ text: 'ROLLBACK' })
  }
}
