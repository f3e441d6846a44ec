import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { isoTimestampSql } from './checkpoint-row.ts'

/**
 * Why an entry was written: a session began, ten seconds of activity, a session ended, an operator marked a point, `init`
 * accepted a gap, the position was moved back.
 */
export type HistoryKind = 'start' | 'interval' | 'stop' | 'mark' | 'gap' | 'rewind'

/** A stored LSN of the past. Source: `wal2rabbit.checkpoint_history`, sql/001_bookkeeping.sql. */
export interface HistoryEntry {
  readonly id: bigint
  readonly slot: string
  readonly lsn: Lsn
  readonly events: bigint
  /** When the stored LSN was this one; ISO 8601 with microseconds, in UTC. */
  readonly storedAt: string
  /** `pg_snapshot` as text. */
  readonly snapshot: string
  /** The WAL end read after the snapshot was taken: all that the snapshot sees has committed below it. */
  readonly snapshotWalEnd: Lsn
  readonly kind: HistoryKind
  /** Given by the operator, with kind `mark`. */
  readonly name: string | null
  readonly systemIdentifier: string
  readonly timeline: number
}

/** The columns that `parseHistoryEntry` reads, as text: to sort by one, qualify it with the table, or it sorts as text. */
export const historyColumnsSql = `id::text AS id, slot, lsn::text AS lsn, events::text AS events,
  ${isoTimestampSql('stored_at')} AS stored_at, snapshot::text AS snapshot, snapshot_wal_end::text AS snapshot_wal_end,
  kind, name, system_identifier, timeline::text AS timeline`

const recordSql = `
  INSERT INTO wal2rabbit.checkpoint_history
    (slot, lsn, events, snapshot, snapshot_wal_end, kind, name, system_identifier, timeline)
  SELECT slot, lsn, events, $2::pg_snapshot, pg_current_wal_insert_lsn(), $3, $4, system_identifier, timeline
  FROM wal2rabbit.checkpoint WHERE slot = $1
  RETURNING ${historyColumnsSql}`

/**
 * Adds the present stored LSN of `slot` to the history; undefined when it has no checkpoint. Two statements on purpose,
 * outside of a transaction: a snapshot already sees transactions that committed after the stored LSN, so only the WAL
 * end read *after* it tells below which LSN everything that it sees has committed. And the WAL end is read below the
 * INSERT, before this transaction has an id of its own: findSnapshotAfter() relies on that.
 */
export async function recordHistory(
  client: PostgresClient,
  slot: string,
  kind: HistoryKind,
  name: string | null = null,
): Promise<HistoryEntry | undefined> {
  const taken = await client.query({
    name: 'wal2rabbit_snapshot',
    text: 'SELECT pg_current_snapshot()::text AS snapshot',
  })
  const values = [slot, taken.rows[0]!.snapshot, kind, name]
  const { rows } = await client.query({ name: 'wal2rabbit_record_history', text: recordSql, values })
  return rows[0] === undefined ? undefined : parseHistoryEntry(rows[0])
}

/** Entries of `slot` (of all slots when undefined), newest first. */
export async function listHistory(
  client: PostgresClient,
  slot: string | undefined,
  limit: number,
): Promise<HistoryEntry[]> {
  const { rows } = await client.query({
    text: `SELECT ${historyColumnsSql} FROM wal2rabbit.checkpoint_history h
      WHERE $1::text IS NULL OR slot = $1 ORDER BY h.id DESC LIMIT $2`,
    values: [slot ?? null, limit],
  })
  return rows.map(parseHistoryEntry)
}

/** Removes the mark of that name; false when there is none. Errors are those of the client. */
export async function removeMark(client: PostgresClient, slot: string, name: string): Promise<boolean> {
  const { rowCount } = await client.query({
    text: `DELETE FROM wal2rabbit.checkpoint_history WHERE slot = $1 AND kind = 'mark' AND name = $2`,
    values: [slot, name],
  })
  return (rowCount ?? 0) > 0
}

/** How much history is kept: what is younger than `time` milliseconds, of that the newest `count` entries. */
export interface HistoryRetention {
  readonly time: number
  readonly count: number
}

/**
 * Removes what the retention does not keep, except marks and the newest of the entries to go: that one is where a replay
 * from the edge of the retention begins. Returns how many were removed.
 */
export async function pruneHistory(client: PostgresClient, slot: string, retention: HistoryRetention): Promise<number> {
  const { rowCount } = await client.query({
    name: 'wal2rabbit_prune_history',
    text: `WITH ranked AS (
        SELECT id, stored_at < clock_timestamp() - $2 * interval '1 millisecond' AS old,
          row_number() OVER (ORDER BY id DESC) AS rank
        FROM wal2rabbit.checkpoint_history WHERE slot = $1 AND kind <> 'mark'),
      surplus AS (SELECT id FROM ranked WHERE old OR rank > $3)
      DELETE FROM wal2rabbit.checkpoint_history
      WHERE id IN (SELECT id FROM surplus) AND id < (SELECT max(id) FROM surplus)`,
    values: [slot, retention.time, retention.count],
  })
  return rowCount ?? 0
}

export function parseHistoryEntry(row: Record<string, unknown>): HistoryEntry {
  return {
    id: BigInt(String(row.id)),
    slot: String(row.slot),
    lsn: parseLsn(String(row.lsn)),
    events: BigInt(String(row.events)),
    storedAt: String(row.stored_at),
    snapshot: String(row.snapshot),
    snapshotWalEnd: parseLsn(String(row.snapshot_wal_end)),
    kind: String(row.kind) as HistoryKind,
    name: row.name === null ? null : String(row.name),
    systemIdentifier: String(row.system_identifier),
    timeline: Number(row.timeline),
  }
}

/** The mark of that name; undefined when there is none. */
export async function findMark(client: PostgresClient, slot: string, name: string): Promise<HistoryEntry | undefined> {
  const { rows } = await client.query({
    text: `SELECT ${historyColumnsSql} FROM wal2rabbit.checkpoint_history WHERE slot = $1 AND kind = 'mark' AND name = $2`,
    values: [slot, name],
  })
  return rows[0] === undefined ? undefined : parseHistoryEntry(rows[0])
}
