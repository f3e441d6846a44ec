import { BridgeError } from '../base/errors.ts'
import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { StartPosition } from '../source/source.ts'
import { isoTimestampSql } from './checkpoint-row.ts'
import { describePosition } from './positions.ts'

/** A rewind that is not finished. Source: the row of `wal2rabbit.rewind`, sql/003_replay.sql. */
export interface RewindIntent {
  readonly slot: string
  readonly target: StartPosition
  /** The stored position before it. */
  readonly from: StartPosition
  /** The slot that reached back to the target when it began. */
  readonly baseSlot: string
  /** The live slot had it when it began, and is to have it in the end. PostgreSQL 17 and newer. */
  readonly failover: boolean
  /** `user@host`. */
  readonly startedBy: string
  /** ISO 8601 with microseconds, in UTC. */
  readonly startedAt: string
}

const loadSql = `
  SELECT slot, target_lsn::text, target_commit_lsn::text, target_rows::text, from_lsn::text, from_commit_lsn::text,
    from_rows::text, base_slot, failover, started_by, ${isoTimestampSql('started_at')} AS started_at
  FROM wal2rabbit.rewind WHERE slot = $1`

/** Undefined when no rewind of the slot is unfinished. Errors are those of the client. */
export async function loadRewindIntent(client: PostgresClient, slot: string): Promise<RewindIntent | undefined> {
  const { rows } = await client.query({ name: 'wal2rabbit_rewind', text: loadSql, values: [slot] })
  const row = rows[0]
  if (row === undefined) return undefined
  return {
    slot: String(row.slot),
    target: positionOf(row.target_lsn, row.target_commit_lsn, row.target_rows),
    from: positionOf(row.from_lsn, row.from_commit_lsn, row.from_rows),
    baseSlot: String(row.base_slot),
    failover: row.failover === true,
    startedBy: String(row.started_by),
    startedAt: String(row.started_at),
  }
}

/** What keeps a bridge, `init` and another rewind from starting while a slot is being replaced. */
export function rewindUnfinished({ slot, target, startedBy, startedAt }: RewindIntent): BridgeError {
  return new BridgeError(
    'REWIND_UNFINISHED',
    `a rewind of slot ${slot} to ${describePosition(target)} is unfinished (begun by ${startedBy}, ${startedAt})`,
  )
}

function positionOf(lsn: unknown, commitLsn: unknown, rows: unknown): StartPosition {
  const partial = commitLsn === null ? null : { commitLsn: lsnOf(commitLsn), rows: Number(rows) }
  return { lsn: lsnOf(lsn), partial }
}

function lsnOf(value: unknown): Lsn {
  return parseLsn(String(value))
}
