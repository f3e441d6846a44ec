import { errorTable } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent } from '../base/sql.ts'
import { type CheckFinding, good, problem, warning } from './finding.ts'

/** What of the server decides whether the bridge can run at all. */
export interface ServerSettings {
  /** As `server_version_num`: 150020 is 15.20. */
  readonly version: number
  readonly inRecovery: boolean
  readonly walLevel: string
  readonly slots: { readonly used: number; readonly limit: number }
  readonly walSenders: { readonly used: number; readonly limit: number }
  readonly role: string
  readonly mayReplicate: boolean
  /** Megabytes; -1 is without a limit. */
  readonly maxSlotWalKeepSize: number
  /** Seconds, 0 is off; null before PostgreSQL 18. */
  readonly idleSlotTimeout: number | null
}

const settingsSql = `
  SELECT current_setting('server_version_num') AS version, pg_is_in_recovery() AS in_recovery,
    current_setting('wal_level') AS wal_level,
    (SELECT count(*) FROM pg_replication_slots) AS slots, current_setting('max_replication_slots') AS slot_limit,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender') AS walsenders,
    current_setting('max_wal_senders') AS walsender_limit,
    current_user AS role,
    (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate,
    (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS max_slot_wal_keep_size,
    (SELECT setting FROM pg_settings WHERE name = 'idle_replication_slot_timeout') AS idle_slot_timeout`

/** Works for PostgreSQL 14 and newer, and for every role. Errors are those of the client. */
export async function readServerSettings(client: PostgresClient): Promise<ServerSettings> {
  const row = (await client.query({ text: settingsSql })).rows[0]!
  return {
    version: Number(row.version),
    inRecovery: row.in_recovery === true,
    walLevel: String(row.wal_level),
    slots: { used: Number(row.slots), limit: Number(row.slot_limit) },
    walSenders: { used: Number(row.walsenders), limit: Number(row.walsender_limit) },
    role: String(row.role),
    mayReplicate: row.may_replicate === true,
    maxSlotWalKeepSize: Number(row.max_slot_wal_keep_size),
    idleSlotTimeout: row.idle_slot_timeout === null ? null : Number(row.idle_slot_timeout),
  }
}

export function serverFindings(server: ServerSettings): CheckFinding[] {
  return [
    server.version >= 140_000
      ? good('version', String(server.version))
      : failed('version', 'SOURCE_VERSION_UNSUPPORTED', `${server.version}, expected 140000 or newer`),
    server.inRecovery
      ? failed('primary', 'SOURCE_IN_RECOVERY', 'the server is in recovery, expected a primary')
      : good('primary', 'not in recovery'),
    server.walLevel === 'logical'
      ? good('wal_level', 'logical')
      : failed('wal_level', 'SOURCE_WAL_LEVEL', `wal_level is ${server.walLevel}, expected logical`),
    room('replication slots', server.slots, 'max_replication_slots'),
    room('walsenders', server.walSenders, 'max_wal_senders'),
    // Hosted databases grant it through a role of their own: whether it works shows the replication connection.
    server.mayReplicate
      ? good('role', `${server.role} has REPLICATION`)
      : warning(
          'role',
          `role ${server.role} has no REPLICATION`,
          `Run as an administrator: ALTER ROLE ${quoteIdent(server.role)} REPLICATION; sql/roles.sql lists the rest.`,
        ),
    retention(server),
  ]
}

/** A full house is a warning: a slot or a walsender of this bridge may be among those that are used. */
function room(name: string, { used, limit }: { used: number; limit: number }, setting: string): CheckFinding {
  const detail = `${used} of ${limit} in use`
  return used < limit ? good(name, detail) : warning(name, detail, `Raise ${setting}, or free one.`)
}

function retention({ maxSlotWalKeepSize, idleSlotTimeout }: ServerSettings): CheckFinding {
  const name = 'slot retention'
  if (idleSlotTimeout !== null && idleSlotTimeout > 0) {
    return warning(
      name,
      `idle_replication_slot_timeout is ${idleSlotTimeout} s: a bridge that is stopped for longer loses its slot`,
      'Set idle_replication_slot_timeout to 0, or longer than the bridge will ever be stopped.',
    )
  }
  if (maxSlotWalKeepSize === -1) {
    return warning(
      name,
      'max_slot_wal_keep_size is -1: while the bridge is stopped, WAL piles up until the disk is full',
      'Choose what may be lost: watch the slot, or set max_slot_wal_keep_size; beyond it the slot is given up.',
    )
  }
  return good(name, `max_slot_wal_keep_size is ${maxSlotWalKeepSize} MB; beyond it the slot is given up`)
}

function failed(name: string, code: keyof typeof errorTable, message: string): CheckFinding {
  return problem(name, { message, remedy: errorTable[code].remedy })
}
