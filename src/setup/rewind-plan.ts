import { BridgeError, type ErrorCode } from '../base/errors.ts'
import { formatLsn, type Lsn, noLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { CheckpointRow } from '../checkpoint/checkpoint-row.ts'
import { comparePositions, describePosition } from '../checkpoint/positions.ts'
import { baseSlotFor, walFloor } from '../replay/reach.ts'
import type { StartPosition } from '../source/source.ts'
import { judgePosition, type PositionFacts } from './position-facts.ts'
import { listReplaySlots } from './replay-slots.ts'
import { stagingTakenBy } from './rewind-facts.ts'
import { lookForSlotRoom } from './slot-room.ts'

/** Names and lengths of what a rewind would do. */
export interface RewindPlan {
  readonly slot: string
  /** The stored position now, and the one to come. */
  readonly from: StartPosition
  readonly target: StartPosition
  /** WAL between the two. */
  readonly bytes: bigint
  /** Events that will be published again, at most; undefined where the history does not say. */
  readonly eventsAtMost: bigint | undefined
  /** The slot that reaches back to the target: an anchor, or the live slot itself, which then stays. */
  readonly baseSlot: string
  /** The live slot has it, and gets it again when it is replaced. PostgreSQL 17 and newer. */
  readonly failover: boolean
}

/** Of the live slot: a rewind makes it anew, so these are no reason against one. */
const mendedByRewind: readonly ErrorCode[] = ['SLOT_MISSING', 'SLOT_INVALIDATED', 'SLOT_AHEAD']

/**
 * What a rewind to `target` comes to; undefined when the stored position is there already and the slot streams from it.
 * Rejects with POSITION_AHEAD, REPLAY_OUT_OF_REACH, SLOT_NAME_TAKEN, SOURCE_TOO_MANY_CONNECTIONS (no free slot),
 * and with what the guards of a bridge's start say.
 */
export async function planRewind(
  client: PostgresClient,
  found: PositionFacts,
  names: { readonly url: string; readonly slot: string; readonly plugin: string },
  target: StartPosition,
): Promise<RewindPlan | undefined> {
  const verdict = await judgePosition(found, names)
  const { row, server } = found
  if (row === undefined || (verdict !== undefined && !mendedByRewind.includes(verdict.code))) {
    throw verdict ?? new BridgeError('CHECKPOINT_MISSING', `wal2rabbit.checkpoint has no row for slot ${names.slot}`)
  }
  const distance = comparePositions(target, row.position)
  if (distance > 0) {
    throw new BridgeError(
      'POSITION_AHEAD',
      `${describePosition(target)} lies beyond the stored position ${describePosition(row.position)} of slot ${names.slot}`,
    )
  }
  if (distance === 0 && verdict === undefined) return undefined
  const slots = (await listReplaySlots(client, names.slot)).filter(
    ({ plugin, database }) => plugin === names.plugin && database === server.database,
  )
  const base = baseSlotFor(slots, target.lsn)
  if (base === undefined) throw outOfReach(names.slot, target.lsn, walFloor(slots))
  if (base.name !== names.slot) await requireRoom(client, names.slot)
  const eventsAtMost = await countEvents(client, row, target.lsn)
  const bytes = row.position.lsn - target.lsn
  const failover = slots.some((slot) => slot.name === names.slot && slot.failover)
  return { slot: names.slot, from: row.position, target, bytes, eventsAtMost, baseSlot: base.name, failover }
}

function outOfReach(slot: string, target: Lsn, floor: Lsn | undefined): BridgeError {
  const reach =
    floor === undefined
      ? `neither slot ${slot} nor an anchor of it can be streamed from`
      : `the oldest position that a slot reaches back to is ${formatLsn(floor)}`
  const asked = target === noLsn ? 'a time before the first stored LSN' : formatLsn(target)
  return new BridgeError('REPLAY_OUT_OF_REACH', `${asked} is out of reach: ${reach}`)
}

/** Of a slot and of its name, before anything is changed: a copy is needed for a while. */
async function requireRoom(client: PostgresClient, slot: string): Promise<void> {
  const taken = await stagingTakenBy(client, slot)
  if (taken !== undefined) {
    throw new BridgeError('SLOT_NAME_TAKEN', `${taken}, and a rewind of slot ${slot} needs that name for a copy`)
  }
  const { free, limit } = await lookForSlotRoom(client)
  if (free > 0) return
  throw new BridgeError(
    'SOURCE_TOO_MANY_CONNECTIONS',
    `a rewind needs one free replication slot for a while, but all ${limit} of max_replication_slots are taken`,
  )
}

/** From the youngest entry at or below the target, if no gap and no other rewind came after it. */
async function countEvents(client: PostgresClient, row: CheckpointRow, target: Lsn): Promise<bigint | undefined> {
  const { rows } = await client.query({
    text: `SELECT events::text AS events FROM wal2rabbit.checkpoint_history h
      WHERE slot = $1 AND lsn <= $2 AND system_identifier = $3 AND timeline = $4
        AND id >= coalesce((SELECT max(id) FROM wal2rabbit.checkpoint_history
          WHERE slot = $1 AND kind IN ('gap', 'rewind')), 0)
      ORDER BY id DESC LIMIT 1`,
    values: [row.slot, formatLsn(target), row.systemIdentifier, row.timeline],
  })
  return rows[0] === undefined ? undefined : row.events - BigInt(String(rows[0].events))
}
