import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteTable } from '../base/sql.ts'
import { type ColumnMap, type LogicalColumn, logicalColumns, namesOf } from '../routing/column-map.ts'
import { compileReader } from '../routing/outbox-row.ts'
import { inspectPublication } from '../source/publication.ts'
import type { SourceRelation } from '../source/source.ts'
import { inspectTable } from '../source/table.ts'
import { type CheckFinding, good, problem, warning } from './finding.ts'
import { type OutboxNames, verifyPublication, verifyTable } from './outbox-guard.ts'

/** The table as a session judges it, but with every column that is missing or of a wrong type. */
export async function checkTable(client: PostgresClient, names: OutboxNames): Promise<CheckFinding[]> {
  const { table, columns } = names
  try {
    await verifyTable(client, names)
    return [good('table', `${quoteTable(table)} has all mapped columns`)]
  } catch (error) {
    if (!isColumnProblem(error)) throw error
    const published = ((await inspectTable(client, table))?.columns ?? []).filter((column) => !column.generated)
    const found = columnProblems({ schema: table.schema, table: table.name, columns: published }, columns)
    return (found.length > 0 ? found : [error]).map((one) => problem('table', one))
  }
}

/** Every mapped column that cannot serve, in the words that a session has for the first. */
export function columnProblems(relation: SourceRelation, map: ColumnMap): BridgeError[] {
  const found = new Map<string, BridgeError>()
  for (const logical of logicalColumns) {
    try {
      compileReader(relation, servingOnly(relation, map, logical))
    } catch (error) {
      if (!isColumnProblem(error)) throw error
      found.set(error.message, error)
    }
  }
  return [...found.values()]
}

/**
 * A map of `logical` alone. As a reader cannot do without a payload, any column that would do is borrowed for it; where
 * there is none, the payload's own problem comes again, and is told once.
 */
function servingOnly(relation: SourceRelation, map: ColumnMap, logical: LogicalColumn): ColumnMap {
  const nothing = Object.fromEntries(logicalColumns.map((name) => [name, null])) as unknown as ColumnMap
  const names = namesOf(map[logical])
  const carrier = relation.columns.find((column) => ['text', 'jsonb', 'json', 'varchar', 'bytea'].includes(column.type))
  return { ...nothing, payload: carrier?.name ?? map.payload, ...(names.length > 0 && { [logical]: map[logical] }) }
}

/** The publication, and whether it hands on only a part of the rows, which may be meant. */
export async function checkPublication(client: PostgresClient, names: OutboxNames): Promise<CheckFinding[]> {
  await verifyPublication(client, names)
  const { publication } = names
  const table = quoteTable(names.table)
  const found = good('publication', `${publication} publishes inserts into ${table}`)
  const { rowFilter } = await inspectPublication(client, publication, names.table)
  if (rowFilter === undefined) return [found]
  const text = `${publication} has a row filter: only rows of ${table} with ${rowFilter} are published`
  const remedy = 'Nothing to do where another bridge publishes the rest; otherwise set the table without WHERE.'
  return [found, warning('row filter', text, remedy)]
}

function isColumnProblem(error: unknown): error is BridgeError {
  return error instanceof BridgeError && (error.code === 'COLUMN_MISSING' || error.code === 'COLUMN_TYPE')
}
