import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { isoTimestampSql } from './checkpoint-row.ts'

/** What the start-up guards need to know of the server. */
export interface ServerFacts {
  /** Unsigned, as `IDENTIFY_SYSTEM` prints it. */
  readonly systemIdentifier: string
  readonly timeline: number
  /** Where the next WAL record goes; in recovery, up to where WAL was replayed. */
  readonly walEnd: Lsn
  readonly inRecovery: boolean
  /** As `server_version_num`: 150020 is 15.20. */
  readonly version: number
  readonly database: string
  /** ISO 8601 with microseconds, in UTC: another one means that the server was restarted. */
  readonly postmasterStartTime: string
}

/**
 * The timeline comes from the name of the WAL file being written: right after a promotion pg_control_checkpoint() still
 * has the old one, until the next checkpoint is done. Every role may call these functions.
 * Source: PostgreSQL documentation, "System Administration Functions", 9.28.3 and "System Information", 9.27.
 */
const serverFactsSql = `
  SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
    CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id::text FROM pg_control_checkpoint())
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint::text END AS timeline,
    CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
      ELSE pg_current_wal_insert_lsn() END::text AS wal_end,
    pg_is_in_recovery() AS in_recovery,
    current_setting('server_version_num') AS version,
    current_database() AS database,
    ${isoTimestampSql('pg_postmaster_start_time()')} AS postmaster_start_time`

/** Reads the facts in one round trip. Errors are those of the client. */
export async function readServerFacts(client: PostgresClient): Promise<ServerFacts> {
  const { rows } = await client.query({ name: 'wal2rabbit_server_facts', text: serverFactsSql })
  const row = rows[0]!
  return {
    systemIdentifier: BigInt.asUintN(64, BigInt(String(row.system_identifier))).toString(),
    timeline: Number(row.timeline),
    walEnd: parseLsn(String(row.wal_end)),
    inRecovery: row.in_recovery === true,
    version: Number(row.version),
    database: String(row.database),
    postmasterStartTime: String(row.postmaster_start_time),
  }
}
