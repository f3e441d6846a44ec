import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteTable, type TableName } from '../base/sql.ts'
import { findOldestSnapshot, type Lineage } from '../checkpoint/history-snapshots.ts'
import { tableReach } from '../replay/replayable.ts'
import { type ColumnMap, namesOf } from '../routing/column-map.ts'
import { inspectTable } from '../source/table.ts'

export interface OutboxSource {
  readonly slot: string
  readonly table: TableName
  readonly columns: ColumnMap
}

/** How far back the table can be read again, or why it cannot. Errors are those of the client. */
export async function readTableReach(
  client: PostgresClient,
  { slot, table, columns }: OutboxSource,
  server: Lineage,
): Promise<{ readonly from: Lsn } | { readonly why: string }> {
  const name = quoteTable(table)
  const facts = await inspectTable(client, table)
  if (facts === undefined) return { why: `table ${name} does not exist` }
  const names = [...namesOf(columns.transaction_id), ...namesOf(columns.created_at)]
  if (!facts.columns.some((column) => names.includes(column.name))) {
    return { why: `table ${name} has neither a transaction_id nor a created_at column` }
  }
  const text = 'SELECT has_table_privilege($1::text::regclass, $2) AS granted'
  const granted = (await client.query({ text, values: [name, 'SELECT'] })).rows[0]!.granted === true
  if (!granted) return { why: `this role lacks SELECT on ${name}` }
  const oldest = await findOldestSnapshot(client, slot, server)
  const from = tableReach(oldest?.snapshotWalEnd, await readRetentionFloor(client, table, server))
  return from === undefined ? { why: 'no snapshot is stored for this cluster and timeline yet' } : { from }
}

/**
 * All rows of the table that outbox.retention deleted had committed below this LSN; undefined when it deleted none here.
 * A floor of another cluster came with a copy of the data: what was deleted
 * there was gone before any snapshot was taken here. Errors are those of the client.
 */
export async function readRetentionFloor(
  client: PostgresClient,
  table: TableName,
  server: Pick<Lineage, 'systemIdentifier'>,
): Promise<Lsn | undefined> {
  const { rows } = await client.query({
    text: `SELECT floor_lsn::text AS floor FROM wal2rabbit.outbox_retention
      WHERE table_name = format('%I.%I', $1::text, $2::text) AND system_identifier = $3`,
    values: [table.schema, table.name, server.systemIdentifier],
  })
  return rows[0] === undefined ? undefined : parseLsn(String(rows[0].floor))
}
