import type { PostgresClient } from '../base/postgres-client.ts'

/** Milliseconds that the creation below may wait for running transactions. */
const snapshotTimeout = 25

/** `cancelled`: written, and no slot came of it, or refused for want of a free one; `skipped`: it would be for nothing. */
export type Refreshed = 'written' | 'cancelled' | 'skipped'

/**
 * Makes PostgreSQL write a snapshot of running transactions, within moments or not at all: creating a logical slot writes
 * one first, whatever becomes of the slot then, and no other way is open to a role that has REPLICATION alone. The slot is
 * temporary, and dropped at once. Rejects with the errors of the connection.
 * Source: ReplicationSlotReserveWal() in src/backend/replication/slot.c
 *
 * While a transaction is open the creation has to be cancelled, which is an ERROR in the server's log. So none is made
 * where that would be for nothing: a slot restarts no later than where the oldest open transaction began, so one that was
 * there the last time already holds it at what was written before.
 */
export function snapshotRefresh(client: PostgresClient, statementTimeout: number): () => Promise<Refreshed> {
  let wasOpen = new Set<string>()
  return async () => {
    const open = await openTransactions(client)
    if (open.some((xid) => wasOpen.has(xid))) return 'skipped'
    wasOpen = new Set(open)
    return await logSnapshot(client, statementTimeout)
  }
}

/** Those that have an id, of all databases, since all are waited for. */
async function openTransactions(client: PostgresClient): Promise<string[]> {
  const text = `SELECT backend_xid::text AS xid FROM pg_stat_activity WHERE backend_xid IS NOT NULL
    UNION ALL SELECT transaction::text FROM pg_prepared_xacts`
  return (await client.query({ text })).rows.map(({ xid }) => String(xid))
}

async function logSnapshot(client: PostgresClient, statementTimeout: number): Promise<'written' | 'cancelled'> {
  const setTimeout = "SELECT set_config('statement_timeout', $1, false)"
  await client.query({ text: setTimeout, values: [String(snapshotTimeout)] })
  try {
    const text = `SELECT pg_drop_replication_slot(slot_name) FROM
      pg_create_logical_replication_slot('wal2rabbit_snapshot_' || pg_backend_pid(), 'pgoutput', true)`
    await client.query({ text })
    return 'written'
  } catch (error) {
    // 57014 while a transaction is open, 53400 without a free slot: without one an anchor retains more, and goes earlier.
    if (!/^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code))) throw error
    return 'cancelled'
  } finally {
    await client.query({ text: setTimeout, values: [String(statementTimeout)] })
  }
}
