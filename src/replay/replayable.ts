import type { Lsn } from '../base/lsn.ts'
import type { HistoryEntry } from '../checkpoint/checkpoint-history.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'

export type ReplaySource = 'wal' | 'table'

/** How far back each source of a replay reaches: the lowest LSN that it can start at; undefined when it cannot at all. */
export interface ReplayReach {
  readonly wal: Lsn | undefined
  readonly table: Lsn | undefined
}

/** From which sources a replay can start at a stored LSN. None for an LSN of another cluster, of a WAL that was left, or above the stored LSN, as after a rewind. */
export function replayableFrom(
  entry: Pick<HistoryEntry, 'lsn' | 'systemIdentifier' | 'timeline'>,
  reach: ReplayReach,
  server: Lineage,
  stored: Lsn,
): ReplaySource[] {
  if (!isOfLineage(entry, server) || entry.lsn > stored) return []
  const sources = ['wal', 'table'] as const
  return sources.filter((source) => reach[source] !== undefined && reach[source] <= entry.lsn)
}

/** A promoted server went on from the switch: what its ancestor wrote above has other content here, or none. */
function isOfLineage(
  { lsn, systemIdentifier, timeline }: Pick<HistoryEntry, 'lsn' | 'systemIdentifier' | 'timeline'>,
  server: Lineage,
): boolean {
  if (systemIdentifier !== server.systemIdentifier) return false
  if (timeline === server.timeline) return true
  const left = server.timelineHistory.find((ancestor) => ancestor.timeline === timeline)
  return left !== undefined && lsn <= left.switchLsn
}

/**
 * The table reaches back to where its oldest snapshot was taken, unless rows above that were deleted since: all of them
 * committed below `floor`.
 */
export function tableReach(oldestSnapshot: Lsn | undefined, floor: Lsn | undefined): Lsn | undefined {
  if (oldestSnapshot === undefined) return undefined
  return floor !== undefined && floor > oldestSnapshot ? floor : oldestSnapshot
}
