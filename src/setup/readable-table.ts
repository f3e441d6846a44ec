import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteTable } from '../base/sql.ts'
import { type ColumnMap, namesOf } from '../routing/column-map.ts'
import { compileReader } from '../routing/outbox-row.ts'
import { inspectPublication } from '../source/publication.ts'
import { inspectTable } from '../source/table.ts'
import type { ReadableTable } from '../source/table-order.ts'
import type { OutboxNames } from './outbox-guard.ts'

/**
 * The outbox as its rows are to be read from the table: the columns and the rows that the stream has, no more. Rejects with
 * TABLE_MISSING, COLUMN_MISSING or COLUMN_TYPE; other errors are those of the client.
 */
export async function inspectReadableTable(client: PostgresClient, names: OutboxNames): Promise<ReadableTable> {
  const { table, columns: map, plugin, publication } = names
  const facts = await inspectTable(client, table)
  if (facts === undefined) throw new BridgeError('TABLE_MISSING', `table ${quoteTable(table)} does not exist`)
  const published = plugin === 'pgoutput' ? await inspectPublication(client, publication, table) : undefined
  const list = published?.columnList
  const columns = facts.columns.filter(({ name, generated }) => !generated && (list?.includes(name) ?? true))
  compileReader({ schema: table.schema, table: table.name, columns }, map)
  const nameIn = (column: ColumnMap[keyof ColumnMap]) =>
    namesOf(column).find((name) => columns.some((one) => one.name === name))
  return {
    table,
    partitioned: facts.partitioned,
    columns,
    createdAt: nameIn(map.created_at),
    transactionId: nameIn(map.transaction_id),
    rowFilter: published?.rowFilter,
  }
}
