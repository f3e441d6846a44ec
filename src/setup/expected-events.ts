import { formatLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { ReplayPlan } from '../replay/replay-record.ts'

/**
 * About how many events a replay from the WAL will read, by the counts of the checkpoint history: an entry is ten seconds
 * or more away from the next, and a crash counts what it repeats. Undefined when they say nothing. Errors are those of
 * the client.
 */
export async function expectedEvents(
  client: PostgresClient,
  slot: string,
  { range, systemIdentifier }: Pick<ReplayPlan, 'range' | 'systemIdentifier'>,
): Promise<number | undefined> {
  const below = (place: string) =>
    `(SELECT events FROM counted WHERE lsn <= ${place} ORDER BY lsn DESC, id DESC LIMIT 1)`
  const { rows } = await client.query({
    text: `WITH counted AS (
        SELECT id, lsn, events FROM wal2rabbit.checkpoint_history WHERE slot = $1 AND system_identifier = $4
        UNION ALL SELECT NULL, lsn, events FROM wal2rabbit.checkpoint WHERE slot = $1)
      SELECT (${below('$3')} - coalesce(${below('$2')}, (SELECT min(events) FROM counted)))::text AS events`,
    values: [slot, formatLsn(range.from.lsn), formatLsn(range.to.lsn), systemIdentifier],
  })
  const events = Number(rows[0]?.events ?? 0)
  return events > 0 ? events : undefined
}
