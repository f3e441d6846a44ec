import { formatLsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'
import type { Need } from './retention.ts'

/**
 * Every slot of this database, not only our own: with row filters several share a table. A replay from the table may be
 * resumed for a day; its rows must not go from under it. A backfill needs them all.
 */
const needsSql = `
  SELECT 'checkpoint' AS kind, 'slot ' || slot AS what, lsn::text AS lsn, system_identifier, timeline::text AS timeline
    FROM wal2rabbit.checkpoint
  UNION ALL
  SELECT 'replay', kind || ' ' || id, CASE WHEN kind = 'backfill' THEN '0/0' ELSE from_lsn::text END,
      system_identifier, timeline::text
    FROM wal2rabbit.replay
    WHERE source = 'table' AND state IN ('running', 'stopped', 'failed') AND updated_at > now() - interval '1 day'`

/** Errors are those of the client. */
export async function readNeeds(client: PostgresClient): Promise<Need[]> {
  const { rows } = await client.query({ text: needsSql })
  return rows.map((row) => ({
    kind: row.kind === 'checkpoint' ? 'checkpoint' : 'replay',
    what: String(row.what),
    lsn: parseLsn(String(row.lsn)),
    systemIdentifier: String(row.system_identifier),
    timeline: Number(row.timeline),
  }))
}

/**
 * The lowest position that somebody needs, or why none can be told. A slot whose stored LSN is of another cluster, or of a
 * WAL that this server left, is not comparable: what it has settled is not known, so nothing may go. A replay of that
 * kind cannot be resumed and needs nothing.
 */
export function lowestNeed(needs: readonly Need[], server: Lineage): Need | string {
  let lowest: Need | undefined
  for (const need of needs) {
    const comparable = isOfLineage(need, server)
    if (!comparable && need.kind === 'checkpoint') {
      const place = `${formatLsn(need.lsn)} of system ${need.systemIdentifier}, timeline ${need.timeline}`
      return `${need.what} has stored ${place}, which is none of this server's positions (system ${server.systemIdentifier}, timeline ${server.timeline}): what it has delivered is not known`
    }
    if (comparable && (lowest === undefined || need.lsn < lowest.lsn)) lowest = need
  }
  return lowest ?? 'wal2rabbit.checkpoint has no row: nothing is known to be delivered'
}

function isOfLineage(need: Need, { systemIdentifier, timeline, timelineHistory }: Lineage): boolean {
  if (need.systemIdentifier !== systemIdentifier) return false
  if (need.timeline === timeline) return true
  const left = timelineHistory.find((ancestor) => ancestor.timeline === need.timeline)
  return left !== undefined && need.lsn <= left.switchLsn
}
