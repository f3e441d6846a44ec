import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent, quoteTable, type TableName } from '../base/sql.ts'

/** What a publication does with the outbox table. */
export interface PublicationFacts {
  readonly name: string
  readonly table: TableName
  readonly exists: boolean
  /** It publishes INSERT. */
  readonly insert: boolean
  readonly holdsTable: boolean
  /** publish_via_partition_root */
  readonly viaRoot: boolean
  readonly tableIsPartitioned: boolean
  /** PostgreSQL 15 and newer: the condition of `WHERE`, as PostgreSQL prints it. */
  readonly rowFilter: string | undefined
  /** PostgreSQL 15 and newer: the columns that are published; undefined when all are. */
  readonly columnList: readonly string[] | undefined
}

/** Without publish_via_partition_root the view lists the partitions in place of their root. */
const inspectSql = `
  SELECT p.pubinsert AS insert, p.pubviaroot AS via_root,
    coalesce((SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = o.oid), false) AS partitioned,
    (SELECT to_jsonb(t) FROM pg_publication_tables t
      WHERE t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3) AS entry,
    EXISTS (SELECT FROM pg_publication_tables t JOIN pg_partition_tree(o.oid) leaf
      ON leaf.relid = to_regclass(format('%I.%I', t.schemaname, t.tablename)) WHERE t.pubname = p.pubname) AS by_partition,
    (SELECT json_agg(a.attname) FROM pg_attribute a
      WHERE a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
    FROM pg_publication p LEFT JOIN LATERAL (SELECT to_regclass(format('%I.%I', $2::text, $3::text)) AS oid) o ON true
    WHERE p.pubname = $1`

/** Works for PostgreSQL 14 and newer. Errors are those of the client. */
export async function inspectPublication(
  client: PostgresClient,
  name: string,
  table: TableName,
): Promise<PublicationFacts> {
  const { rows } = await client.query({ text: inspectSql, values: [name, table.schema, table.name] })
  const row = rows[0]
  const entry = (row?.entry ?? undefined) as { attnames?: string[]; rowfilter?: string | null } | undefined
  const allColumns = (row?.columns ?? []) as string[]
  const published = entry?.attnames
  const isList =
    published !== undefined && published !== null && allColumns.some((column) => !published.includes(column))
  return {
    name,
    table,
    exists: row !== undefined,
    insert: row?.insert === true,
    holdsTable: entry !== undefined || row?.by_partition === true,
    viaRoot: row?.via_root === true,
    tableIsPartitioned: row?.partitioned === true,
    rowFilter: entry?.rowfilter ?? undefined,
    columnList: isList ? published : undefined,
  }
}

/** Creates the publication for the outbox alone: inserts only, partitions under their root's name. */
export async function createPublication(client: PostgresClient, name: string, table: TableName): Promise<void> {
  await client.query({ text: createPublicationSql(name, table) })
}

export function createPublicationSql(name: string, table: TableName): string {
  const options = "publish = 'insert', publish_via_partition_root = true"
  return `CREATE PUBLICATION ${quoteIdent(name)} FOR TABLE ${quoteTable(table)} WITH (${options})`
}

/**
 * Why the publication would not hand on every row whole; undefined when it does. A row filter is no problem: it shards
 * an outbox on purpose. Of the names of a mapped column one must be published. The SQL that mends it is part of the
 * message.
 */
export function publicationProblem(
  facts: PublicationFacts,
  mappedColumns: readonly (readonly string[])[],
): string | undefined {
  const publication = quoteIdent(facts.name)
  const table = quoteTable(facts.table)
  const alter = `ALTER PUBLICATION ${publication}`
  if (!facts.exists) return `publication ${publication} does not exist`
  if (!facts.holdsTable) return `publication ${publication} does not hold ${table}: ${alter} ADD TABLE ${table}`
  if (!facts.insert) return `publication ${publication} does not publish inserts: ${alter} SET (publish = 'insert')`
  if (facts.tableIsPartitioned && !facts.viaRoot) {
    return `publication ${publication} publishes the partitions of ${table} under their own names: ${alter} SET (publish_via_partition_root = true)`
  }
  const { columnList } = facts
  const hidden =
    columnList === undefined ? [] : mappedColumns.filter((names) => !names.some((name) => columnList.includes(name)))
  if (hidden.length > 0) {
    return `publication ${publication} leaves out the columns ${hidden.map((names) => names.map(quoteIdent).join(' or ')).join(', ')} of ${table}: BEGIN; ${alter} DROP TABLE ${table}; ${alter} ADD TABLE ${table}; COMMIT`
  }
  return undefined
}
