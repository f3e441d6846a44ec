import { fullXminSql } from '../base/full-xid.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { type HistoryEntry, historyColumnsSql, parseHistoryEntry } from './checkpoint-history.ts'
import type { TimelineSwitch } from './timeline-history.ts'

/** Where a server comes from: LSNs of its own timeline are comparable, and those of an ancestor up to its switch. */
export interface Lineage {
  /** Unsigned, as `IDENTIFY_SYSTEM` prints it. */
  readonly systemIdentifier: string
  readonly timeline: number
  /** The ancestors of `timeline`. */
  readonly timelineHistory: readonly TimelineSwitch[]
}

/**
 * Whether the snapshot of history entry `h` counts on this server: $2 system identifier, $3 timeline, $4 and $5 its
 * ancestors and where each was left. Above a switch the WAL, and with it the commits that a snapshot sees, may be another.
 */
export const isOfLineageSql = `h.system_identifier = $2 AND (h.timeline = $3 OR EXISTS (
  SELECT FROM unnest($4::bigint[], $5::pg_lsn[]) AS ancestor (timeline, switch_lsn)
  WHERE ancestor.timeline = h.timeline AND h.snapshot_wal_end <= ancestor.switch_lsn))`

/**
 * The newest entry whose snapshot sees nothing that committed at `from` or above: a replay from the table that starts at
 * `from` reads the rows which this snapshot does not see, and more than it needs rather than less. Undefined when the
 * history does not reach back that far on this cluster, its timeline and the ancestors of that.
 */
export async function findSnapshotBefore(
  client: PostgresClient,
  slot: string,
  from: Lsn,
  server: Lineage,
): Promise<HistoryEntry | undefined> {
  const { rows } = await client.query({
    text: `SELECT ${historyColumnsSql} FROM wal2rabbit.checkpoint_history h
      WHERE h.slot = $1 AND h.snapshot_wal_end <= $6 AND ${isOfLineageSql}
      ORDER BY h.snapshot_wal_end DESC, h.id DESC LIMIT 1`,
    values: [...valuesOf(slot, server), formatLsn(from)],
  })
  return rows[0] === undefined ? undefined : parseHistoryEntry(rows[0])
}

/** The end of a range of the table: it sees all that committed below an LSN, and perhaps some that committed later. */
export interface UpperSnapshot {
  /** `pg_snapshot` as text. */
  readonly snapshot: string
  /** The entry that it was made from. */
  readonly entry: HistoryEntry
}

/**
 * A snapshot that sees every transaction which committed below `to`. The stored ones will not do: a transaction becomes
 * visible some time after its commit record is written, with synchronous replication perhaps much later, so also a
 * snapshot that was taken after the WAL had reached `to` may miss one. But its id was given to it before the commit record
 * was written: so, before the WAL end of an entry at `to` or above was read, and before that entry's own transaction had
 * an id, which comes with the row that holds the WAL end. Hence all ids below that of the first such entry, also those
 * that were then still open: a range that ends here repeats rather than misses. The entry of a rewind does not count: its
 * transaction has moved the checkpoint, and so has its id, before the WAL end is read.
 *
 * Undefined when the history has no such entry yet; then a snapshot of the present serves.
 */
export async function findSnapshotAfter(
  client: PostgresClient,
  slot: string,
  to: Lsn,
  server: Lineage,
): Promise<UpperSnapshot | undefined> {
  const { rows } = await client.query({
    text: `SELECT ${historyColumnsSql}, ${fullXminSql('h')}::text AS xid FROM wal2rabbit.checkpoint_history h
      WHERE h.slot = $1 AND h.snapshot_wal_end >= $6 AND h.kind <> 'rewind' AND ${isOfLineageSql}
      ORDER BY h.id LIMIT 1`,
    values: [...valuesOf(slot, server), formatLsn(to)],
  })
  const row = rows[0]
  if (row === undefined) return undefined
  return { snapshot: `${row.xid}:${row.xid}:`, entry: parseHistoryEntry(row) }
}

/** The oldest snapshot that counts on this server: a replay from the table cannot begin below its WAL end. */
export async function findOldestSnapshot(
  client: PostgresClient,
  slot: string,
  server: Lineage,
): Promise<HistoryEntry | undefined> {
  const { rows } = await client.query({
    text: `SELECT ${historyColumnsSql} FROM wal2rabbit.checkpoint_history h WHERE h.slot = $1 AND ${isOfLineageSql}
      ORDER BY h.snapshot_wal_end, h.id LIMIT 1`,
    values: valuesOf(slot, server),
  })
  return rows[0] === undefined ? undefined : parseHistoryEntry(rows[0])
}

/**
 * From which snapshot on rows of the table may go that are older than `age` milliseconds: of the entries with a WAL end
 * at or below `needed` the youngest that is as old, so that a replay from the table goes on to reach back that far; else
 * the oldest of the younger ones, which holds nothing back. Marks are never pruned: one may stand alone among the old
 * ones, and what committed after it would not go for as long as it is there. So a mark counts as old for a tenth of `age`,
 * which does for marks made each day; beyond that only where there is nothing else. Undefined when there is none.
 */
export async function findRetentionSnapshot(
  client: PostgresClient,
  slot: string,
  needed: Lsn,
  age: number,
  server: Lineage,
): Promise<HistoryEntry | undefined> {
  const { rows } = await client.query({
    text: `WITH usable AS (
        SELECT h.*, h.stored_at <= clock_timestamp() - $7 * interval '1 millisecond' AS old,
          h.kind = 'mark' AND h.stored_at < clock_timestamp() - 1.1 * $7 * interval '1 millisecond' AS outlived
        FROM wal2rabbit.checkpoint_history h WHERE h.slot = $1 AND h.snapshot_wal_end <= $6 AND ${isOfLineageSql})
      SELECT ${historyColumnsSql} FROM usable u
      ORDER BY CASE WHEN u.outlived THEN 2 WHEN u.old THEN 0 ELSE 1 END,
        CASE WHEN u.old THEN u.snapshot_wal_end END DESC, u.snapshot_wal_end, u.id LIMIT 1`,
    values: [...valuesOf(slot, server), formatLsn(needed), age],
  })
  return rows[0] === undefined ? undefined : parseHistoryEntry(rows[0])
}

/** $1 to $5 of a statement with isOfLineageSql. */
export function valuesOf(slot: string, { systemIdentifier, timeline, timelineHistory }: Lineage): unknown[] {
  return [
    slot,
    systemIdentifier,
    timeline,
    timelineHistory.map((ancestor) => ancestor.timeline),
    timelineHistory.map((ancestor) => formatLsn(ancestor.switchLsn)),
  ]
}
