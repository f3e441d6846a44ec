import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteTable, type TableName } from '../base/sql.ts'
import { type ColumnMap, namesOf } from '../routing/column-map.ts'
import { compileReader } from '../routing/outbox-row.ts'
import { inspectPublication, publicationProblem } from '../source/publication.ts'
import { inspectTable } from '../source/table.ts'
import { attempt } from './connect.ts'

/** What of the database has to fit together for rows to arrive whole. */
export interface OutboxNames {
  readonly table: TableName
  readonly columns: ColumnMap
  readonly plugin: 'pgoutput' | 'wal2json'
  /** Of no concern to wal2json. */
  readonly publication: string
}

/**
 * Whether every committed row of the outbox reaches the stream whole: the table with its mapped columns, and for
 * pgoutput the publication. Looked at before and while streaming, because PostgreSQL drops changes silently when a table
 * leaves its publication. Rejects with TABLE_MISSING, TABLE_NOT_LOGGED, TABLE_PARTITIONED, COLUMN_MISSING, COLUMN_TYPE,
 * PUBLICATION_MISSING or PUBLICATION_INCOMPLETE, and with what toSourceError makes of the driver's errors. Resolves as
 * identifyOutbox() does.
 */
export async function verifyOutbox(client: PostgresClient, names: OutboxNames): Promise<string> {
  return attempt('looking at table and publication', async () => {
    await verifyTable(client, names)
    if (names.plugin === 'pgoutput') await verifyPublication(client, names)
    return identityOf(client, names)
  })
}

/**
 * What tells this publication of this table from the same ones made or altered anew, and nothing else: cheap enough for
 * each store. Rejects with what toSourceError makes of the driver's errors.
 */
export function identifyOutbox(client: PostgresClient, names: OutboxNames): Promise<string> {
  return attempt('looking at the publication', () => identityOf(client, names))
}

async function identityOf(client: PostgresClient, { plugin, publication, table }: OutboxNames): Promise<string> {
  if (plugin !== 'pgoutput') return ''
  const values = [publication, table.schema, table.name]
  const { rows } = await client.query({ name: 'wal2rabbit_publication', text: identitySql, values })
  return String(rows[0]?.identity)
}

/** Rows of the catalog with the transactions that wrote them: leaving a publication and coming back shows here. */
const identitySql = `
  SELECT concat_ws(' ', p.oid, p.xmin, (
    SELECT string_agg(concat_ws('/', r.oid, r.xmin), ',' ORDER BY r.oid) FROM pg_publication_rel r
      JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE r.prpubid = p.oid AND n.nspname = $2 AND c.relname = $3)) AS identity
  FROM pg_publication p WHERE p.pubname = $1`

export async function verifyTable(client: PostgresClient, names: Omit<OutboxNames, 'publication'>): Promise<void> {
  const { table, columns, plugin } = names
  const facts = await inspectTable(client, table)
  if (facts === undefined) throw new BridgeError('TABLE_MISSING', `table ${quoteTable(table)} does not exist`)
  if (!facts.logged) {
    throw new BridgeError('TABLE_NOT_LOGGED', `table ${quoteTable(table)} is unlogged: its rows are not in the WAL`)
  }
  if (facts.partitioned && plugin === 'wal2json') {
    // Nothing of the root's name would ever come, and nobody would notice.
    throw new BridgeError(
      'TABLE_PARTITIONED',
      `table ${quoteTable(table)} is partitioned, and wal2json names the partition of a row instead: expected source.plugin pgoutput`,
    )
  }
  // Generated columns are not in the stream (before version 18 never).
  const published = facts.columns.filter((column) => !column.generated)
  compileReader({ schema: table.schema, table: table.name, columns: published }, columns)
}

export async function verifyPublication(client: PostgresClient, names: OutboxNames): Promise<void> {
  const facts = await inspectPublication(client, names.publication, names.table)
  const problem = publicationProblem(facts, mappedColumns(names.columns))
  if (problem !== undefined) {
    throw new BridgeError(facts.exists ? 'PUBLICATION_INCOMPLETE' : 'PUBLICATION_MISSING', problem)
  }
}

/** The table's columns that the map uses, each with all of its names. */
export function mappedColumns(columns: ColumnMap): (readonly string[])[] {
  return Object.values(columns)
    .map(namesOf)
    .filter((names) => names.length > 0)
}
