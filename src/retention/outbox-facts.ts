import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent, quoteTable } from '../base/sql.ts'
import type { RetentionRule } from './retention.ts'

/** What of the table decides how rows are found and how they go. */
export interface OutboxFacts {
  readonly oid: string
  /** Quoted. */
  readonly name: string
  /** As it stands after FROM. Tables that inherit from an ordinary one are not in the stream, so their rows are not meant. */
  readonly from: string
  readonly role: string
  readonly canSelect: boolean
  readonly canDelete: boolean
  /** Row-level security hides rows from this role. */
  readonly hidesRows: boolean
  /** By range of created_at alone: then partitions can go whole. */
  readonly partitionedByTime: boolean
  readonly createdAt: MappedColumn | undefined
  readonly transactionId: MappedColumn | undefined
}

interface MappedColumn {
  readonly name: string
  readonly type: string
}

const factsSql = `
  SELECT c.oid::text AS oid, c.relkind::text AS kind, current_user AS role,
    has_table_privilege(c.oid, 'SELECT') AS can_select, has_table_privilege(c.oid, 'DELETE') AS can_delete,
    row_security_active(c.oid) AS hides_rows,
    CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS key,
    (SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL)) FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`

/** Undefined when there is no such table. Errors are those of the client. */
export async function readOutboxFacts(client: PostgresClient, rule: RetentionRule): Promise<OutboxFacts | undefined> {
  const { table } = rule
  const { rows } = await client.query({ text: factsSql, values: [table.schema, table.name] })
  const row = rows[0]
  if (row === undefined) return undefined
  const columns = row.columns as Record<string, string>
  const find = (names: readonly string[]): MappedColumn | undefined => {
    const name = names.find((one) => columns[one] !== undefined)
    return name === undefined ? undefined : { name, type: columns[name]! }
  }
  const createdAt = find(rule.createdAt)
  return {
    oid: String(row.oid),
    name: quoteTable(table),
    from: row.kind === 'p' ? quoteTable(table) : `ONLY ${quoteTable(table)}`,
    role: String(row.role),
    canSelect: row.can_select === true,
    canDelete: row.can_delete === true,
    hidesRows: row.hides_rows === true,
    partitionedByTime: createdAt !== undefined && isRangeOf(row.key, createdAt.name),
    createdAt,
    transactionId: find(rule.transactionId),
  }
}

/** pg_get_partkeydef() quotes a name only where it must. */
function isRangeOf(key: unknown, column: string): boolean {
  return key === `RANGE (${column})` || key === `RANGE (${quoteIdent(column)})`
}

/** Why retention can do nothing with this table; undefined when it can. */
export function retentionProblem(facts: OutboxFacts | undefined, rule: RetentionRule): string | undefined {
  if (facts === undefined) return `table ${quoteTable(rule.table)} does not exist`
  const { name, role, createdAt } = facts
  if (createdAt === undefined) return `table ${name} has no created_at column: how old a row is cannot be told`
  if (!/^timestamp with(out)? time zone$/.test(createdAt.type)) {
    return `column ${quoteIdent(createdAt.name)} of table ${name} is of type ${createdAt.type}, expected timestamptz or timestamp`
  }
  const lacking = [...(facts.canSelect ? [] : ['SELECT']), ...(facts.canDelete ? [] : ['DELETE'])]
  if (lacking.length === 0) {
    if (!facts.hidesRows) return undefined
    return `row-level security hides rows of ${name} from role ${role}: ALTER ROLE ${quoteIdent(role)} BYPASSRLS;`
  }
  const rights = lacking.join(', ')
  return `role ${role} lacks ${rights} on ${name}: GRANT ${rights} ON ${name} TO ${quoteIdent(role)};`
}

/**
 * Partitions that could be dropped whole some day, if this role owned them; undefined when it owns all. Errors are those
 * of the client.
 */
export async function foreignPartitions(
  client: PostgresClient,
  { oid, name, role, partitionedByTime }: OutboxFacts,
): Promise<{ readonly text: string; readonly statement: string } | undefined> {
  if (!partitionedByTime) return undefined
  const { rows } = await client.query({
    text: `SELECT count(*)::text AS count, min(pg_get_userbyid(c.relowner)) AS owner
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = $1::oid AND c.relkind = 'r' AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
        AND NOT pg_has_role(c.relowner, 'USAGE')`,
    values: [oid],
  })
  const { count, owner } = rows[0]!
  if (count === '0') return undefined
  const statement = `GRANT ${quoteIdent(String(owner))} TO ${quoteIdent(role)};`
  const text = `role ${role} does not own ${count} partitions of ${name}, so it deletes their rows one by one: ${statement}`
  return { text, statement }
}
