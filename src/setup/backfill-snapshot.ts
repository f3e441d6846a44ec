import type pg from 'pg'
import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { readableSnapshot } from '../base/snapshot-text.ts'
import { quoteLiteral, quoteTable } from '../base/sql.ts'
import type { ReadableTable } from '../source/table-order.ts'
import { countTableSql, type TableRange } from '../source/table-query.ts'
import { attempt, type ControlOptions, connectControl, endControl } from './connect.ts'

/** The table as one snapshot sees it, and kept so. */
export interface HeldSnapshot {
  /** `pg_snapshot` as text. */
  readonly snapshot: string
  /** Rows of the range. */
  readonly rows: number
  /** Lets go of the table. Never rejects. */
  close(): Promise<void>
}

export interface HoldOptions {
  /** As exported by another connection, whose transaction is still open. */
  readonly snapshotId: string
  readonly table: ReadableTable
  readonly range: TableRange
  /** Sees what is there now. */
  readonly client: PostgresClient
  /** Tells the operator why it takes so long. */
  readonly notice: (text: string) => void
}

/**
 * Counts the rows that the snapshot sees, and keeps them readable: DROP, DETACH, TRUNCATE and what rewrites a table heed
 * no snapshot, so that rows would be missing without a word. Their lock waits from here on until close(), as it would for
 * the reading itself, but also while that is begun anew. Rejects with a BridgeError, BACKFILL_INCOMPLETE when one of them
 * came between the snapshot and this.
 */
export async function holdSnapshot(control: ControlOptions, options: HoldOptions): Promise<HeldSnapshot> {
  const client = await connectControl(control)
  try {
    const held = await attempt('counting the rows', () => lockAndCount(client, options))
    return { ...held, close: () => endControl(client) }
  } catch (error) {
    await endControl(client)
    throw error
  }
}

async function lockAndCount(client: pg.Client, { snapshotId, table, range, client: present, notice }: HoldOptions) {
  // It has nothing to do while the rows are published, for hours maybe. The last one is there from PostgreSQL 17 on.
  await client.query(`SELECT set_config(name, '0', false) FROM pg_settings
    WHERE name IN ('lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`)
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  await client.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshotId)}`)
  const name = quoteTable(table.table)
  const timer = setTimeout(() => notice(`waits for a lock on table ${name} that somebody holds (see pg_locks)`), 3000)
  try {
    // Of a partitioned table its partitions too, for which no right of their own is needed.
    await client.query(`LOCK TABLE ${table.partitioned ? '' : 'ONLY '}${name} IN ACCESS SHARE MODE`)
  } finally {
    clearTimeout(timer)
  }
  requireSame(name, await relationsOf(client, name), await relationsOf(present, name))
  const seen = await client.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
  const counted = await client.query<{ rows: string }>(countTableSql(table, range))
  return { snapshot: readableSnapshot(seen.rows[0]!.snapshot), rows: Number(counted.rows[0]!.rows) }
}

/** Table and partitions, each with the file that holds its rows. Read as data, the catalog obeys the snapshot. */
const relationsSql = `WITH RECURSIVE tree AS (
    SELECT oid, relname, relfilenode FROM pg_class WHERE oid = to_regclass($1)
    UNION ALL
    SELECT c.oid, c.relname, c.relfilenode FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
      JOIN pg_class c ON c.oid = i.inhrelid)
  SELECT relname AS name, oid::text || ':' || relfilenode AS file FROM tree`

async function relationsOf(client: PostgresClient, table: string): Promise<Map<string, string>> {
  const { rows } = await client.query({ text: relationsSql, values: [table] })
  return new Map(rows.map(({ name, file }) => [String(file), String(name)]))
}

function requireSame(table: string, seen: Map<string, string>, present: Map<string, string>): void {
  const gone =
    seen.size === 0 ? ['all of it'] : [...seen].filter(([file]) => !present.has(file)).map(([, name]) => name)
  if (gone.length === 0) return
  throw new BridgeError(
    'BACKFILL_INCOMPLETE',
    `of table ${table} ${gone.join(', ')} was dropped, detached, truncated or rewritten since the snapshot was taken; nothing was published`,
  )
}
