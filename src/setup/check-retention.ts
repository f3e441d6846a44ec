import type { PostgresClient } from '../base/postgres-client.ts'
import { formatDuration } from '../config/units.ts'
import { foreignPartitions, type OutboxFacts, readOutboxFacts, retentionProblem } from '../retention/outbox-facts.ts'
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
  const found = good(
    name,
    `rows of ${facts!.name} that are settled and older than ${formatDuration(retention)} are deleted`,
  )
  if (foreign === undefined) return [found]
  return [warning(name, foreign.text, `Run as an administrator: ${foreign.statement}`)]
}

function remedyOf(facts: OutboxFacts | undefined): string {
  if (facts === undefined) return 'Create the table first.'
  return facts.createdAt === undefined || (facts.canSelect && facts.canDelete)
    ? 'Map source.columns.created_at to a column of type timestamptz, or set outbox.retention to 0.'
    : 'Grant as the message says, as the owner of the table, or set outbox.retention to 0.'
}
