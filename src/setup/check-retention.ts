import type { PostgresClient } from '../base/postgres-client.ts'
import { formatDuration } from '../config/units.ts'
import { foreignPartitions, type OutboxFacts, readOutboxFacts, retentionProblem } from '../retention/outbox-facts.ts'
import { hasUnstreamed, readUnstreamedBelow, unstreamedNotice } from '../retention/unstreamed.ts'
import type { ColumnSetting } from '../routing/column-map.ts'
import { type CheckFinding, good, warning } from './finding.ts'
import { retentionRule } from './outbox-retention.ts'

const name = 'outbox retention'

/** Whether outbox.retention can do its work; nothing while it is off. Errors are those of the client. */
export async function checkRetention(
  client: PostgresClient,
  source: {
    readonly slot: string
    readonly table: string
    readonly columns: ColumnSetting
    readonly retention: number
  },
): Promise<CheckFinding[]> {
  const { retention } = source
  if (retention === 0) return []
  const rule = retentionRule({ source, outbox: { retention } })
  const facts = await readOutboxFacts(client, rule)
  const problem = retentionProblem(facts, rule)
  if (problem !== undefined) return [warning(name, problem, remedyOf(facts))]
  const foreign = await foreignPartitions(client, facts!)
  const warnings =
    foreign === undefined ? [] : [warning(name, foreign.text, `Run as an administrator: ${foreign.statement}`)]
  // Where it may not be read, or is not there yet, other findings say so.
  const below = (await mayReadCheckpoint(client)) ? await readUnstreamedBelow(client, source.slot) : undefined
  if (typeof below === 'string' && (await hasUnstreamed(client, facts!, retention, below))) {
    warnings.push(warning(name, unstreamedNotice(facts!, source.slot), unstreamedRemedy))
  }
  if (warnings.length > 0) return warnings
  return [good(name, `rows of ${facts!.name} that are settled and older than ${formatDuration(retention)} are deleted`)]
}

const unstreamedRemedy =
  'Publish those that are needed again and delete the others by hand: "rows that were never streamed" in docs/operations.md. For a new slot "wal2rabbit init --backfill", in place of "init", leaves none behind.'

async function mayReadCheckpoint(client: PostgresClient): Promise<boolean> {
  const { rows } = await client.query({
    text: `SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'wal2rabbit' AND c.relname = 'checkpoint' AND a.attname = 'unstreamed_below'
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')`,
  })
  return rows.length > 0
}

function remedyOf(facts: OutboxFacts | undefined): string {
  if (facts === undefined) return 'Create the table first.'
  return facts.createdAt === undefined || (facts.canSelect && facts.canDelete)
    ? 'Map source.columns.created_at to a column of type timestamptz, or set outbox.retention to 0.'
    : 'Do as the message says, as the owner of the table or an administrator, or set outbox.retention to 0.'
}
