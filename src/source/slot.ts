import { assert } from '../base/assert.ts'
import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { slotName_length_max } from '../base/slot-name.ts'

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
  /** PostgreSQL 17 and newer: stand-bys synchronize it. A copy does not have it. */
  readonly failover: boolean
  /** Bytes of WAL that the slot keeps from being removed. */
  readonly retainedBytes: bigint
}

/** A slot and its name. */
export interface NamedSlot extends SlotFacts {
  readonly name: string
}

/** The row as JSON: its columns differ from version to version. LSNs and 64-bit numbers come as text. */
const factsSql = `
  SELECT to_jsonb(s) || jsonb_build_object(
      'safe_wal_size', s.safe_wal_size::text,
      'retained', greatest(0, pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
        s.restart_lsn))::text) AS slot
    FROM pg_replication_slots s`

/** Undefined when there is no slot of this name. Errors are those of the client. */
export async function inspectSlot(client: PostgresClient, name: string): Promise<SlotFacts | undefined> {
  const { rows } = await client.query({ text: `${factsSql} WHERE s.slot_name = $1::text`, values: [name] })
  return rows[0] === undefined ? undefined : parseSlot(rows[0].slot as Record<string, unknown>)
}

/** Logical slots of this database whose name begins with `prefix`, oldest position first. Errors are those of the client. */
export async function listSlots(client: PostgresClient, prefix: string): Promise<NamedSlot[]> {
  const { rows } = await client.query({
    text: `${factsSql} WHERE s.database = current_database() AND starts_with(s.slot_name, $1)
      ORDER BY s.confirmed_flush_lsn, s.slot_name`,
    values: [prefix],
  })
  return rows.map((row) => parseSlot(row.slot as Record<string, unknown>))
}

function parseSlot(slot: Record<string, unknown>): NamedSlot {
  return {
    name: String(slot.slot_name),
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
    failover: slot.failover === true,
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
  requireFitting(name)
  const text = 'SELECT lsn::text AS lsn FROM pg_create_logical_replication_slot($1, $2)'
  const { rows } = await client.query({ text, values: [name, plugin] })
  return parseLsn(String(rows[0]!.lsn))
}

/**
 * Copies a slot at the position where it stands, at once; returns `confirmed_flush_lsn` of the copy, from which on it
 * streams. A temporary copy belongs to this connection and ends with it. Errors are those of the client: 42710 when
 * `to` exists, 42704 when `from` does not, 53400 without a free slot, 55000 when `from` is invalidated.
 * Source: PostgreSQL documentation, "System Administration Functions", 9.27.6.
 */
export async function copySlot(client: PostgresClient, from: string, to: string, temporary = false): Promise<Lsn> {
  requireFitting(from)
  requireFitting(to)
  const text = 'SELECT lsn::text AS lsn FROM pg_copy_logical_replication_slot($1, $2, $3)'
  const { rows } = await client.query({ text, values: [from, to, temporary] })
  return parseLsn(String(rows[0]!.lsn))
}

/** Drops a slot; false when there is none of this name. Errors are those of the client: 55006 while it is in use. */
export async function dropSlot(client: PostgresClient, name: string): Promise<boolean> {
  const text = 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text'
  try {
    return ((await client.query({ text, values: [name] })).rowCount ?? 0) > 0
  } catch (error) {
    // Gone in between: as was wanted.
    if ((error as { code?: unknown }).code === '42704') return false
    throw error
  }
}

function requireFitting(name: string): void {
  assert(name.length <= slotName_length_max, () => `slot name ${name} is longer than ${slotName_length_max}`)
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
