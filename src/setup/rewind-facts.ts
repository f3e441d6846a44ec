import { formatLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { slotNameFor } from '../base/slot-name.ts'
import { type CheckpointRow, checkpointColumnsSql, parseCheckpointRow } from '../checkpoint/checkpoint-row.ts'
import { comparePositions } from '../checkpoint/positions.ts'
import { loadRewindIntent, type RewindIntent } from '../checkpoint/rewind-intent.ts'
import type { RewindFacts } from '../replay/rewind-step.ts'
import { inspectSlot, slotInvalidation } from '../source/slot.ts'
import { type KnownReplaySlot, listReplaySlots } from './replay-slots.ts'

/** `<slot>_rewind`: the copy that holds the WAL while the live slot is replaced. */
export function stagingName(slot: string): string {
  return slotNameFor(slot, '_rewind')
}

/** Whose slot stands under the name of the copy before it is made; undefined when nobody's. Errors are those of the client. */
export async function stagingTakenBy(client: PostgresClient, slot: string): Promise<string | undefined> {
  const name = stagingName(slot)
  if (await isOfABridge(client, name)) return `slot ${name} is that of another bridge`
  return (await inspectSlot(client, name)) === undefined ? undefined : `there is a slot ${name} already`
}

async function isOfABridge(client: PostgresClient, name: string): Promise<boolean> {
  const text = 'SELECT FROM wal2rabbit.checkpoint WHERE slot = $1'
  return (await client.query({ text, values: [name] })).rows.length > 0
}

export interface RewindSight {
  readonly facts: RewindFacts
  /** Undefined when the checkpoint is missing. */
  readonly row: CheckpointRow | undefined
}

/** What decides the next step; undefined when no rewind of the slot is unfinished. Errors are those of the client. */
export async function lookAtRewind(
  client: PostgresClient,
  names: { readonly slot: string; readonly plugin: string },
): Promise<RewindSight | undefined> {
  const intent = await loadRewindIntent(client, names.slot)
  if (intent === undefined) return undefined
  const text = `SELECT ${checkpointColumnsSql}, current_database() AS database FROM (SELECT) AS one
    LEFT JOIN wal2rabbit.checkpoint ON slot = $1`
  const found = (await client.query({ text, values: [names.slot] })).rows[0]!
  const row = found.slot === null ? undefined : parseCheckpointRow(found)
  const slots = await listReplaySlots(client, names.slot)
  const facts: RewindFacts = {
    intent,
    plugin: names.plugin,
    database: String(found.database),
    checkpoint: whereRowStands(row, intent),
    live: slots.find(({ name }) => name === names.slot),
    staging: await inspectReplaySlot(client, stagingName(names.slot)),
    isStagingForeign: await isOfABridge(client, stagingName(names.slot)),
    anchors: slots.filter(({ name }) => name !== names.slot),
    stagingName: stagingName(names.slot),
  }
  return { facts, row }
}

async function inspectReplaySlot(client: PostgresClient, name: string): Promise<KnownReplaySlot | undefined> {
  const slot = await inspectSlot(client, name)
  return slot === undefined ? undefined : { ...slot, name, invalidation: slotInvalidation(slot) }
}

function whereRowStands(row: CheckpointRow | undefined, { from, target }: RewindIntent): RewindFacts['checkpoint'] {
  if (row === undefined) return 'missing'
  // In this order: when the slot alone had to be replaced, the two are the same.
  if (comparePositions(row.position, target) === 0) return 'target'
  return comparePositions(row.position, from) === 0 ? 'before' : 'elsewhere'
}

/** How a slot stands, for messages. */
export function describeSlot(slot: KnownReplaySlot): string {
  if (slot.invalidation !== undefined) return `${slot.name} is invalidated (${slot.invalidation})`
  const { confirmedFlushLsn } = slot
  return confirmedFlushLsn === undefined
    ? `${slot.name} has no position`
    : `${slot.name} reaches back to ${formatLsn(confirmedFlushLsn)}`
}
