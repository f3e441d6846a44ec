import { formatLsn, type Lsn, maxLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { parseTableName } from '../base/sql.ts'
import { findRetentionSnapshot } from '../checkpoint/history-snapshots.ts'
import type { PassReport, RetentionParts, RetentionRule } from '../retention/retention.ts'
import { type PassOptions, runPass } from '../retention/retention-pass.ts'
import { type ColumnSetting, namesOf, resolveColumns } from '../routing/column-map.ts'
import { toSourceError } from '../source/failure.ts'
import { connectControl, endControl, withControl } from './connect.ts'
import { readLineage } from './lineage.ts'
import { requireSchema } from './migrate.ts'
import { readTableReach } from './table-reach.ts'

/** The part of the configuration that says which rows may go. */
export interface RetentionSettings {
  readonly source: { readonly slot: string; readonly table: string; readonly columns: ColumnSetting }
  readonly outbox: { readonly retention: number }
}

export function retentionRule({ source, outbox }: RetentionSettings): RetentionRule {
  const columns = resolveColumns(source.columns)
  return {
    slot: source.slot,
    table: parseTableName(source.table),
    createdAt: namesOf(columns.created_at),
    transactionId: namesOf(columns.transaction_id),
    age: outbox.retention,
  }
}

/**
 * How far back a replay from the table reaches, or would once all that committed below `floor` is gone; null when it
 * does not. Rejects with a BridgeError.
 */
export function readReach(
  connection: { readonly url: string; readonly connectTimeout: number },
  { slot, table, columns }: RetentionSettings['source'],
  floor: Lsn | null,
): Promise<string | null> {
  const options = { ...connection, applicationName: 'wal2rabbit retention', statementTimeout }
  return withControl(options, 'looking how far back the table reaches', async (client) => {
    const outbox = { slot, table: parseTableName(table), columns: resolveColumns(columns) }
    const reach = await readTableReach(client, outbox, await readLineage(client, connection.url))
    if ('why' in reach) return null
    return formatLsn(floor === null ? reach.from : maxLsn(reach.from, floor))
  })
}

/** A look reads a few hundred blocks, but the last check of a partition reads all of it; milliseconds. */
const statementTimeout = 60_000

/** One pass on a connection of its own, cut when the signal comes. Rejects with a BridgeError. */
export async function passOverOutbox(
  connection: { readonly url: string; readonly connectTimeout: number },
  rule: RetentionRule,
  options: PassOptions,
): Promise<PassReport> {
  const { url } = connection
  const client = await connectControl({ ...connection, applicationName: 'wal2rabbit retention', statementTimeout })
  const cut = () => void endControl(client)
  options.signal.addEventListener('abort', cut)
  try {
    await requireSchema(client)
    return await runPass(client, rule, partsFor(url), options)
  } catch (error) {
    throw toSourceError(error, { doing: 'deleting old rows of the outbox table' })
  } finally {
    options.signal.removeEventListener('abort', cut)
    await endControl(client)
  }
}

function partsFor(url: string): RetentionParts {
  return { readLineage: (client: PostgresClient) => readLineage(client, url), findRetentionSnapshot }
}
