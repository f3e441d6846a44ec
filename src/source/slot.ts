import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'

/** A logical replication slot, as pg_replication_slots shows it. */
export interface SlotFacts {
  /** Undefined for a physical slot. */
  readonly plugin: string | undefined
  readonly database: string | undefined
  readonly temporary: boolean
  readonly active: boolean
  readonly activePid: number | undefined
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus: string | undefined
  /** Bytes of WAL that may still be written before the slot is in danger; undefined without max_slot_wal_keep_size. */
  readonly safeWalSize: bigint | undefined
  readonly restartLsn: Lsn | undefined
  readonly confirmedFlushLsn: Lsn | undefined
  /** PostgreSQL 17 and newer: `wal_removed`, `rows_removed`, `wal_level_insufficient`, `idle_timeout`. */
  readonly invalidationReason: string | undefined
  /** PostgreSQL 16 and newer: invalidated by a conflict with recovery on a stand-by. */
  readonly conflicting: boolean
  /** Bytes of WAL that the slot keeps from being removed. */
  readonly retainedBytes: bigint
}

/** The row as JSON: its columns differ from version to version. LSNs and 64-bit numbers come as text. */
const inspectSql = `
  SELECT to_jsonb(s) || jsonb_build_object(
      'safe_wal_size', s.safe_wal_size::text,
      'retained', greatest(0, pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
        s.restart_lsn))::text) AS slot
    FROM pg_replication_slots s WHERE s.slot_name = $1`

/** Undefined when there is no slot of this name. Errors are those of the client. */
export async function inspectSlot(client: PostgresClient, name: string): Promise<SlotFacts | undefined> {
  const { rows } = await client.query({ text: inspectSql, values: [name] })
  const slot = rows[0]?.slot as Record<string, unknown> | undefined
  if (slot === undefined) return undefined
  return {
    plugin: textOf(slot.plugin),
    database: textOf(slot.database),
    temporary: slot.temporary === true,
    active: slot.active === true,
    activePid: typeof slot.active_pid === 'number' ? slot.active_pid : undefined,
    walStatus: textOf(slot.wal_status),
    safeWalSize: bigintOf(slot.safe_wal_size),
    restartLsn: lsnOf(slot.restart_lsn),
    confirmedFlushLsn: lsnOf(slot.confirmed_flush_lsn),
    invalidationReason: textOf(slot.invalidation_reason),
    conflicting: slot.conflicting === true,
    retainedBytes: bigintOf(slot.retained) ?? 0n,
  }
}

/** Why PostgreSQL will not stream from the slot ever again; undefined when it will. */
export function slotInvalidation(slot: SlotFacts): string | undefined {
  if (slot.invalidationReason !== undefined) return slot.invalidationReason
  if (slot.conflicting) return 'conflict with recovery'
  return slot.walStatus === 'lost' ? 'wal_removed' : undefined
}

/**
 * Creates a logical slot and returns the LSN from which on it has everything. Waits for older write transactions to
 * end. Errors are those of the client: 42710 when it exists, 42501, 53400, 55000 (wal_level).
 */
export async function createSlot(client: PostgresClient, name: string, plugin: string): Promise<Lsn> {
  const text = 'SELECT lsn::text AS lsn FROM pg_create_logical_replication_slot($1, $2)'
  const { rows } = await client.query({ text, values: [name, plugin] })
  return parseLsn(String(rows[0]!.lsn))
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function lsnOf(value: unknown): Lsn | undefined {
  return typeof value === 'string' ? parseLsn(value) : undefined
}

function bigintOf(value: unknown): bigint | undefined {
  return typeof value === 'string' ? BigInt(value) : undefined
}
