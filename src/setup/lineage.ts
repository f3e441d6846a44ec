import type { PostgresClient } from '../base/postgres-client.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'
import { readServerFacts } from '../checkpoint/server-facts.ts'
import { readTimelineHistory } from './server-timeline.ts'

/**
 * What decides whether an LSN of the past is one of this server: its cluster, its timeline and the ancestors of that,
 * which only a replication connection can tell. Rejects with errors of the client, or a BridgeError.
 */
export async function readLineage(client: PostgresClient, url: string): Promise<Lineage> {
  const { systemIdentifier, timeline } = await readServerFacts(client)
  return { systemIdentifier, timeline, timelineHistory: await readTimelineHistory(url, timeline) }
}
