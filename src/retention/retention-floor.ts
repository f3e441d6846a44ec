import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { TableName } from '../base/sql.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'

/** The key of wal2rabbit.outbox_retention: schema.table, quoted where needed; $1 schema, $2 name. */
const keySql = `format('%I.%I', $1::text, $2::text)`

const raiseSql = `
  INSERT INTO wal2rabbit.outbox_retention AS r (table_name, floor_lsn, system_identifier, timeline)
  VALUES (${keySql}, $3, $4, $5)
  ON CONFLICT (table_name) DO UPDATE SET
    floor_lsn = CASE WHEN r.system_identifier = excluded.system_identifier
      THEN greatest(r.floor_lsn, excluded.floor_lsn) ELSE excluded.floor_lsn END,
    system_identifier = excluded.system_identifier, timeline = excluded.timeline, updated_at = clock_timestamp()`

/**
 * Says that rows which committed below `floor` may be gone: to be committed before the first of them goes, so that no
 * replay from the table relies on it. Never lowers what is there. Errors are those of the client.
 */
export async function raiseFloor(
  client: PostgresClient,
  table: TableName,
  floor: Lsn,
  server: Pick<Lineage, 'systemIdentifier' | 'timeline'>,
): Promise<void> {
  const values = [table.schema, table.name, formatLsn(floor), server.systemIdentifier, server.timeline]
  await client.query({ text: raiseSql, values })
}

/** Adds up what went. Errors are those of the client. */
export async function countDeleted(
  client: PostgresClient,
  table: TableName,
  gone: { readonly rows: number; readonly partitions: number },
): Promise<void> {
  await client.query({
    text: `UPDATE wal2rabbit.outbox_retention SET rows_deleted = rows_deleted + $3,
      partitions_dropped = partitions_dropped + $4, updated_at = clock_timestamp() WHERE table_name = ${keySql}`,
    values: [table.schema, table.name, gone.rows, gone.partitions],
  })
}
