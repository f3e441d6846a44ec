import type { PostgresClient } from '../base/postgres-client.ts'
import type { TableName } from '../base/sql.ts'
import type { SourceColumn } from './source.ts'
import { typeName } from './type-name.ts'

export interface TableFacts {
  readonly partitioned: boolean
  /** False for temporary and unlogged tables, which leave no WAL. */
  readonly logged: boolean
  readonly columns: readonly TableColumn[]
}

export interface TableColumn extends SourceColumn {
  readonly notNull: boolean
  /** A generated column is not replicated. */
  readonly generated: boolean
}

const inspectSql = `
  SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence,
    coalesce((SELECT json_agg(json_build_object('name', a.attname, 'type', a.atttypid::bigint,
        'not_null', a.attnotnull, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`

/** Undefined when there is no table of this name. Types are named as the stream names them. */
export async function inspectTable(client: PostgresClient, table: TableName): Promise<TableFacts | undefined> {
  const { rows } = await client.query({ text: inspectSql, values: [table.schema, table.name] })
  const row = rows[0]
  if (row === undefined) return undefined
  const columns = row.columns as Array<{ name: string; type: number; not_null: boolean; generated: boolean }>
  return {
    partitioned: row.kind === 'p',
    logged: row.persistence === 'p',
    columns: columns.map((column) => ({
      name: column.name,
      type: typeName(column.type),
      notNull: column.not_null,
      generated: column.generated,
    })),
  }
}
