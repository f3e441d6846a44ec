import type { Lsn } from '../base/lsn.ts'
import { parseLsn } from '../base/lsn.ts'
import type { StartPosition } from '../source/source.ts'

/** The row of `wal2rabbit.checkpoint`: what one slot is known to have settled. Source: sql/001_bookkeeping.sql. */
export interface CheckpointRow {
  readonly slot: string
  /** The stored LSN and how far the transaction after it is settled. */
  readonly position: StartPosition
  /** Unsigned, as `IDENTIFY_SYSTEM` prints it. */
  readonly systemIdentifier: string
  readonly timeline: number
  /** Counts owners: incremented by each claim. */
  readonly epoch: bigint
  readonly owner: string
  /** Incremented by each change of the row. */
  readonly version: bigint
  /** Events settled since the row was made. */
  readonly events: bigint
  /** ISO 8601 with microseconds, in UTC. */
  readonly storedAt: string
}

/** A timestamptz column as ISO 8601 with microseconds in UTC, whatever DateStyle and TimeZone the session has. */
export function isoTimestampSql(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
}

/** The columns that `parseCheckpointRow` reads. */
export const checkpointColumnsSql = `slot, lsn::text AS lsn, partial_commit_lsn::text AS partial_commit_lsn,
  partial_rows::text AS partial_rows, system_identifier, timeline::text AS timeline, epoch::text AS epoch, owner,
  version::text AS version, events::text AS events, ${isoTimestampSql('stored_at')} AS stored_at`

export function parseCheckpointRow(row: Record<string, unknown>): CheckpointRow {
  return {
    slot: String(row.slot),
    position: {
      lsn: parseLsn(String(row.lsn)),
      partial: parsePartial(row.partial_commit_lsn, row.partial_rows),
    },
    systemIdentifier: String(row.system_identifier),
    timeline: Number(row.timeline),
    epoch: BigInt(String(row.epoch)),
    owner: String(row.owner),
    version: BigInt(String(row.version)),
    events: BigInt(String(row.events)),
    storedAt: String(row.stored_at),
  }
}

function parsePartial(commitLsn: unknown, rows: unknown): { commitLsn: Lsn; rows: number } | null {
  return commitLsn === null ? null : { commitLsn: parseLsn(String(commitLsn)), rows: Number(rows) }
}
