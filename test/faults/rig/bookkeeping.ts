import { type Lsn, parseLsn } from '../../../src/base/lsn.ts'
import type { StoredPosition } from '../checkers/history.ts'
import type { SlotFacts } from '../checkers/slots.ts'
import { type Query, witnessSlot } from './witness.ts'

/** The checkpoint row, and the slot read before it; undefined for what is not there. */
export async function readStored(
  query: Query,
  slot: string,
): Promise<{ readonly stored: StoredPosition | undefined; readonly acknowledged: Lsn | undefined }> {
  const [seen] = await query('SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1', [
    slot,
  ])
  const [row] = await query(
    `SELECT lsn::text, partial_commit_lsn::text AS partial_lsn, partial_rows::text
     FROM wal2rabbit.checkpoint WHERE slot = $1`,
    [slot],
  )
  const acknowledged = typeof seen?.lsn === 'string' ? parseLsn(seen.lsn) : undefined
  if (typeof row?.lsn !== 'string') return { stored: undefined, acknowledged }
  const partial =
    typeof row.partial_lsn === 'string'
      ? { commitLsn: parseLsn(row.partial_lsn), rows: Number(row.partial_rows) }
      : null
  return { stored: { lsn: parseLsn(row.lsn), partial }, acknowledged }
}

/** Ids of events that are kept as dead letters, or that somebody has discarded since. */
export async function readDeadLetters(query: Query, slot: string): Promise<Set<string>> {
  const kept = await query('SELECT event_id FROM wal2rabbit.dead_letter WHERE slot = $1', [slot])
  const [audit] = await query(`SELECT to_regclass('wal2rabbit.dead_letter_audit') IS NOT NULL AS there`)
  const gone =
    audit?.there === true
      ? await query(`SELECT event_id FROM wal2rabbit.dead_letter_audit WHERE slot = $1 AND action = 'discarded'`, [
          slot,
        ])
      : []
  return new Set([...kept, ...gone].map(({ event_id }) => String(event_id)))
}

/** Every slot of the scene's database that outlives its session. */
export async function readSlots(query: Query, slot: string): Promise<SlotFacts> {
  const rows = await query(
    'SELECT slot_name FROM pg_replication_slots WHERE NOT temporary AND database = current_database()',
  )
  return { slot, names: rows.map(({ slot_name }) => String(slot_name)), others: [witnessSlot(slot)] }
}
