import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { type CheckpointRow, checkpointColumnsSql, parseCheckpointRow } from '../checkpoint/checkpoint-row.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'
import { clusterProblem, onThisTimeline } from '../checkpoint/resume.ts'
import { readServerFacts, type ServerFacts } from '../checkpoint/server-facts.ts'
import type { TimelineSwitch } from '../checkpoint/timeline-history.ts'
import type { ReplayRange } from '../replay/range.ts'
import { type KnownReplaySlot, listReplaySlots } from './replay-slots.ts'
import { readTimelineHistory } from './server-timeline.ts'

/** What a replay, a rewind and the list of checkpoints know of slot and server. */
export interface ReplayFacts {
  readonly slot: string
  /** The live stream's checkpoint at this moment: nothing that it has not settled is replayed. */
  readonly checkpoint: CheckpointRow
  readonly server: ServerFacts
  /** The ancestors of the server's timeline. */
  readonly timelineHistory: readonly TimelineSwitch[]
  /** The live slot, if it is there, and its anchors. */
  readonly slots: readonly KnownReplaySlot[]
}

/**
 * Reads the facts; the stored position must belong to this server, and `also` to its history. Rejects with CHECKPOINT_MISSING, SYSTEM_CHANGED,
 * TIMELINE_DIVERGED, STORED_AHEAD_OF_WAL, SOURCE_IN_RECOVERY, or the client's errors.
 */
export async function readReplayFacts(
  client: PostgresClient,
  url: string,
  slot: string,
  also?: StoredPlace,
): Promise<ReplayFacts> {
  const slots = await listReplaySlots(client, slot)
  const text = `SELECT ${checkpointColumnsSql} FROM wal2rabbit.checkpoint WHERE slot = $1`
  const row = (await client.query({ text, values: [slot] })).rows[0]
  if (row === undefined) {
    throw new BridgeError('CHECKPOINT_MISSING', `wal2rabbit.checkpoint has no row for slot ${slot}`)
  }
  const checkpoint = parseCheckpointRow(row)
  const server = await readServerFacts(client)
  if (server.inRecovery) {
    throw new BridgeError('SOURCE_IN_RECOVERY', 'the server is in recovery (a stand-by), expected a primary')
  }
  const timelineHistory = await readTimelineHistory(url, server.timeline)
  const problem = clusterProblem(checkpoint, { server, timelineHistory })
  if (problem !== undefined) throw problem
  if (also !== undefined && !isInHistory({ server, timelineHistory }, also)) {
    throw new BridgeError(
      'TIMELINE_DIVERGED',
      `LSN ${formatLsn(also.lsn)} of timeline ${also.timeline} of system ${also.systemIdentifier} is not in the history of the server (timeline ${server.timeline} of system ${server.systemIdentifier})`,
    )
  }
  return { slot, checkpoint, server, timelineHistory, slots }
}

/** An LSN, and the cluster and timeline that it was stored on. */
export interface StoredPlace {
  readonly systemIdentifier: string
  readonly timeline: number
  readonly lsn: Lsn
}

/**
 * Whether an LSN that was stored on this cluster and timeline lies in the server's history: below the point at which
 * the server left that timeline.
 */
export function isInHistory(
  { server, timelineHistory }: Pick<ReplayFacts, 'server' | 'timelineHistory'>,
  entry: StoredPlace,
): boolean {
  if (entry.systemIdentifier !== server.systemIdentifier) return false
  if (entry.timeline === server.timeline) return true
  const left = timelineHistory.find(({ timeline }) => timeline === entry.timeline)
  return left !== undefined && entry.lsn <= left.switchLsn
}

/**
 * Up to where the live stream has settled everything, as the end of a range: the stored LSN, or the rows that are settled
 * of the transaction behind it. Between the two no event lies, as transactions come in the order of their commits.
 */
export function settledEnd(facts: Pick<ReplayFacts, 'checkpoint' | 'server' | 'timelineHistory'>): ReplayRange['to'] {
  const { lsn, partial } = onThisTimeline(facts.checkpoint, facts)
  return partial === null ? { lsn, rows: 0 } : { lsn: partial.commitLsn, rows: partial.rows }
}

export function lineageOf({ server, timelineHistory }: Pick<ReplayFacts, 'server' | 'timelineHistory'>): Lineage {
  return { systemIdentifier: server.systemIdentifier, timeline: server.timeline, timelineHistory }
}
