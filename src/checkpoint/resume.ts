import { BridgeError, type ErrorCode } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { StartPosition } from '../source/source.ts'
import type { CheckpointRow } from './checkpoint-row.ts'
import { comparePositions, describePosition } from './positions.ts'
import type { ServerFacts } from './server-facts.ts'
import type { TimelineSwitch } from './timeline-history.ts'

/** What the guards need to know of the slot. */
export interface ResumeSlot {
  readonly name: string
  /** Null for a physical slot. */
  readonly plugin: string | null
  readonly database: string | null
  /** Why PostgreSQL invalidated it (`lost`, `wal_removed`, `conflicting`, …); undefined while it is usable. */
  readonly invalidation: string | undefined
  /** `confirmed_flush_lsn`; null while the slot is being created. */
  readonly confirmedFlush: Lsn | null
}

/** How far this process had come in its last session, which may be further than what is stored. */
export interface RememberedPosition {
  readonly position: StartPosition
  /** Of the checkpoint row, as this process last wrote it. */
  readonly version: bigint
  readonly systemIdentifier: string
  readonly timeline: number
  readonly postmasterStartTime: string
}

export interface StartFacts {
  readonly slotName: string
  readonly plugin: string
  readonly checkpoint: CheckpointRow | undefined
  readonly slot: ResumeSlot | undefined
  readonly server: ServerFacts
  /** The ancestors of the server's timeline; needed only when it is not the timeline of the checkpoint. */
  readonly timelineHistory?: readonly TimelineSwitch[] | undefined
  readonly remembered?: RememberedPosition | undefined
}

export interface StartDecision {
  readonly start: StartPosition
  /** What of the checkpoint row still counts: its position, without the part inside a transaction that a promotion cut off. */
  readonly stored: StartPosition
  /** `remembered`: what this process still holds in its window joins on without a gap. */
  readonly from: 'stored' | 'remembered'
}

/** The oldest server that streams logical messages and lets pgoutput name its protocol as we need it. */
const oldestVersion = 140_000

/**
 * The guards before streaming: whether the stored position and the slot still belong together, and to this server. Gives
 * where to start, or the reason to halt (retry while the server is in recovery). Nothing is repaired here: every one of
 * these situations would skip events silently if streaming went on. Pure.
 */
export function decideStart(facts: StartFacts): StartDecision | BridgeError {
  const { checkpoint, server } = facts
  const unusable = checkServer(server) ?? checkPresence(facts)
  if (unusable !== undefined) return unusable
  const row = checkpoint!
  const problem = clusterProblem(row, facts) ?? slotProblem(row, facts)
  if (problem !== undefined) return problem

  const stored = onThisTimeline(row, facts)
  const remembered = facts.remembered
  if (remembered !== undefined && mayRemember(remembered, row, server)) {
    if (comparePositions(remembered.position, stored) >= 0) {
      return { start: remembered.position, stored, from: 'remembered' }
    }
  }
  return { start: stored, stored, from: 'stored' }
}

function checkServer(server: ServerFacts): BridgeError | undefined {
  if (server.version < oldestVersion) {
    return problem(
      'SOURCE_VERSION_UNSUPPORTED',
      `server version is ${server.version}, expected ${oldestVersion} or newer`,
    )
  }
  if (server.inRecovery) {
    return problem('SOURCE_IN_RECOVERY', 'the server is in recovery (a stand-by), expected a primary')
  }
  return undefined
}

function checkPresence({ slotName, slot, checkpoint }: StartFacts): BridgeError | undefined {
  if (checkpoint === undefined) {
    return slot === undefined
      ? problem('SLOT_MISSING', `neither slot ${slotName} nor a checkpoint of it exists, expected both`)
      : problem('CHECKPOINT_MISSING', `slot ${slotName} exists, but wal2rabbit.checkpoint has no row for it`)
  }
  return undefined
}

/** Why a stored position does not belong to this server and its timeline; undefined when it does. Pure. */
export function clusterProblem(
  row: Pick<CheckpointRow, 'position' | 'systemIdentifier' | 'timeline'>,
  { server, timelineHistory }: Pick<StartFacts, 'server' | 'timelineHistory'>,
): BridgeError | undefined {
  const stored = formatLsn(row.position.lsn)
  if (row.systemIdentifier !== server.systemIdentifier) {
    return problem(
      'SYSTEM_CHANGED',
      `stored LSN ${stored} belongs to system identifier ${row.systemIdentifier}, but the server has ${server.systemIdentifier}`,
    )
  }
  if (row.timeline !== server.timeline) {
    const left = timelineHistory?.find((entry) => entry.timeline === row.timeline)
    if (left === undefined) {
      return problem(
        'TIMELINE_DIVERGED',
        `stored LSN ${stored} is on timeline ${row.timeline}, which is no ancestor of the server's timeline ${server.timeline}`,
      )
    }
    if (row.position.lsn > left.switchLsn) {
      return problem(
        'TIMELINE_DIVERGED',
        `stored LSN ${stored} of timeline ${row.timeline} lies beyond ${formatLsn(left.switchLsn)}, where the server's timeline ${server.timeline} left it`,
      )
    }
  }
  if (row.position.lsn > server.walEnd) {
    return problem(
      'STORED_AHEAD_OF_WAL',
      `stored LSN ${stored} lies beyond the server's WAL end ${formatLsn(server.walEnd)}`,
    )
  }
  return undefined
}

/** Why the slot is not the one that the row was stored for, or cannot be streamed; undefined when all is well. Pure. */
export function slotProblem(
  row: Pick<CheckpointRow, 'position'>,
  { slotName, slot, plugin, server }: Pick<StartFacts, 'slotName' | 'slot' | 'plugin' | 'server'>,
): BridgeError | undefined {
  const stored = row.position.lsn
  if (slot === undefined) {
    return problem(
      'SLOT_MISSING',
      `slot ${slotName} does not exist, but LSN ${formatLsn(stored)} was stored for it: events between there and the WAL end ${formatLsn(server.walEnd)} can no longer be streamed`,
    )
  }
  if (slot.plugin !== plugin) {
    const found = slot.plugin === null ? 'is a physical slot' : `has the plugin ${slot.plugin}`
    return problem('SLOT_WRONG_PLUGIN', `slot ${slotName} ${found}, expected a logical slot with ${plugin}`)
  }
  if (slot.database !== server.database) {
    return problem(
      'SLOT_WRONG_DATABASE',
      `slot ${slotName} belongs to database ${slot.database}, expected ${server.database}`,
    )
  }
  if (slot.invalidation !== undefined) {
    return problem(
      'SLOT_INVALIDATED',
      `slot ${slotName} is invalidated (${slot.invalidation}); the stored LSN is ${formatLsn(stored)}, the WAL end ${formatLsn(server.walEnd)}`,
    )
  }
  // Only its creator sees a slot without a position for long; it is active until then.
  if (slot.confirmedFlush === null) return problem('SLOT_ACTIVE', `slot ${slotName} is still being created`)
  if (slot.confirmedFlush > stored) {
    return problem(
      'SLOT_AHEAD',
      `slot ${slotName} is confirmed up to ${formatLsn(slot.confirmedFlush)}, above the stored ${describePosition(row.position)}: ${slot.confirmedFlush - stored} bytes of WAL would be skipped`,
    )
  }
  return undefined
}

/**
 * Where a promotion cut off a transaction that was settled in part, another one may have come to lie at its LSN: then
 * the transaction is sent again from its first row rather than have rows of the other one passed over.
 */
export function onThisTimeline(
  row: Pick<CheckpointRow, 'position' | 'timeline'>,
  { server, timelineHistory }: Pick<StartFacts, 'server' | 'timelineHistory'>,
): StartPosition {
  const { lsn, partial } = row.position
  if (partial === null || row.timeline === server.timeline) return row.position
  const left = timelineHistory?.find((entry) => entry.timeline === row.timeline)
  return left !== undefined && partial.commitLsn < left.switchLsn ? row.position : { lsn, partial: null }
}

/** Memory counts only while nothing can have turned the database back: same row, same cluster, not restarted. */
function mayRemember(remembered: RememberedPosition, row: CheckpointRow, server: ServerFacts): boolean {
  return (
    remembered.version === row.version &&
    remembered.systemIdentifier === server.systemIdentifier &&
    remembered.timeline === server.timeline &&
    remembered.timeline === row.timeline &&
    remembered.postmasterStartTime === server.postmasterStartTime &&
    remembered.position.lsn <= server.walEnd
  )
}

function problem(code: ErrorCode, message: string): BridgeError {
  return new BridgeError(code, message)
}
