import { parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { AnchorServer } from '../replay/anchor-keeper.ts'
import { anchorTime } from '../replay/anchor-name.ts'
import type { WindowFacts } from '../replay/replay-window.ts'
import { copySlot, dropSlot } from '../source/slot.ts'
import { type ControlOptions, connectControl, endControl } from './connect.ts'
import { listReplaySlots } from './replay-slots.ts'

const serverSql = `SELECT clock_timestamp() AS now,
  CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END::text AS wal_end`

/** The anchors of `slot`, over a connection of their own. Rejects with a BridgeError. */
export async function connectAnchorServer(options: ControlOptions, slot: string): Promise<AnchorServer> {
  const client = await connectControl(options)
  return {
    look: () => readWindowFacts(client, slot),
    create: (name) => copySlot(client, slot, name),
    drop: (name) => dropSlot(client, name),
    refresh: () => logSnapshot(client, options.statementTimeout),
    close: () => endControl(client),
  }
}

/** Milliseconds that the creation below may wait for running transactions. */
const snapshotTimeout = 25

/**
 * Creating a logical slot writes a snapshot of running transactions first, whatever becomes of the slot then; no other
 * way is open to a role that has REPLICATION alone. The slot is temporary, and dropped at once.
 * Source: ReplicationSlotReserveWal() in src/backend/replication/slot.c
 */
async function logSnapshot(client: PostgresClient, statementTimeout: number): Promise<void> {
  const setTimeout = "SELECT set_config('statement_timeout', $1, false)"
  await client.query({ text: setTimeout, values: [String(snapshotTimeout)] })
  try {
    const text = `SELECT pg_drop_replication_slot(slot_name) FROM
      pg_create_logical_replication_slot('wal2rabbit_snapshot_' || pg_backend_pid(), 'pgoutput', true)`
    await client.query({ text })
  } catch (error) {
    // 57014 while a transaction is open, 53400 without a free slot: without one an anchor retains more, and goes earlier.
    if (!/^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code))) throw error
  } finally {
    await client.query({ text: setTimeout, values: [String(statementTimeout)] })
  }
}

/** The live slot and its anchors, and then the WAL end, so that none of them lies beyond it. Errors are those of the client. */
export async function readWindowFacts(client: PostgresClient, slot: string): Promise<WindowFacts> {
  const slots = await listReplaySlots(client, slot)
  const row = (await client.query({ text: serverSql })).rows[0]!
  return {
    now: row.now as Date,
    walEnd: parseLsn(String(row.wal_end)),
    live: slots.find(({ name }) => name === slot),
    anchors: slots.flatMap((one) => {
      const madeAt = anchorTime(slot, one.name)
      return madeAt === undefined ? [] : [{ ...one, madeAt }]
    }),
  }
}
