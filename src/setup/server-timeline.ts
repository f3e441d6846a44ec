import { parseTimelineHistory, type TimelineSwitch } from '../checkpoint/timeline-history.ts'
import { askReplication } from './replication-question.ts'

/**
 * Asks the server for the ancestors of `timeline`, which only a replication connection can; timeline 1 has none, and no
 * history file. Rejects with a BridgeError.
 * Source: PostgreSQL documentation, "Streaming Replication Protocol", TIMELINE_HISTORY.
 */
export async function readTimelineHistory(url: string, timeline: number): Promise<TimelineSwitch[]> {
  if (timeline === 1) return []
  const doing = `reading the history of timeline ${timeline}`
  const row = await askReplication(url, `TIMELINE_HISTORY ${timeline}`, doing)
  return parseTimelineHistory(String(row.content))
}
