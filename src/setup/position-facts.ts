import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { type CheckpointRow, checkpointColumnsSql, parseCheckpointRow } from '../checkpoint/checkpoint-row.ts'
import { decideStart } from '../checkpoint/resume.ts'
import { loadRewindIntent, type RewindIntent, rewindUnfinished } from '../checkpoint/rewind-intent.ts'
import { readServerFacts, type ServerFacts } from '../checkpoint/server-facts.ts'
import { inspectSlotForResume, type SlotForResume } from './resume-slot.ts'
import { readTimelineHistory } from './server-timeline.ts'

/** Slot and checkpoint as they are, each possibly missing. */
export interface PositionFacts {
  readonly server: ServerFacts
  readonly slot: SlotForResume | undefined
  readonly row: CheckpointRow | undefined
  /** A rewind that is not finished. */
  readonly rewind: RewindIntent | undefined
}

/** Also works before there is a schema. Errors are those of the client. */
export async function lookAtPosition(client: PostgresClient, slot: string): Promise<PositionFacts> {
  const schema = await client.query({
    text: `SELECT to_regclass('wal2rabbit.checkpoint') IS NOT NULL AS checkpoint,
      to_regclass('wal2rabbit.rewind') IS NOT NULL AS rewind`,
  })
  const found = schema.rows[0]!
  const text = `SELECT ${checkpointColumnsSql} FROM wal2rabbit.checkpoint WHERE slot = $1`
  const rows = found.checkpoint === true ? (await client.query({ text, values: [slot] })).rows : []
  return {
    server: await readServerFacts(client),
    slot: await inspectSlotForResume(client, slot),
    row: rows[0] === undefined ? undefined : parseCheckpointRow(rows[0]),
    rewind: found.rewind === true ? await loadRewindIntent(client, slot) : undefined,
  }
}

/**
 * The verdict of the start-up guards; undefined when a session may start. A slot without a checkpoint is judged as if
 * the stored LSN were where it stands.
 */
export async function judgePosition(
  { server, slot, row, rewind }: PositionFacts,
  names: { readonly url: string; readonly slot: string; readonly plugin: string },
): Promise<BridgeError | undefined> {
  if (rewind !== undefined) return rewindUnfinished(rewind)
  const checkpoint = row ?? (slot === undefined ? undefined : rowAt(slot, server))
  const moved = checkpoint !== undefined && checkpoint.timeline !== server.timeline
  const timelineHistory = moved ? await readTimelineHistory(names.url, server.timeline) : undefined
  const facts = { slotName: names.slot, plugin: names.plugin, checkpoint, slot, server, timelineHistory }
  const decision = decideStart(facts)
  return decision instanceof BridgeError ? decision : undefined
}

function rowAt(slot: SlotForResume, server: ServerFacts): CheckpointRow {
  return {
    slot: slot.name,
    position: { lsn: slot.confirmedFlush ?? 0n, partial: null },
    systemIdentifier: server.systemIdentifier,
    timeline: server.timeline,
    epoch: 0n,
    owner: '',
    version: 0n,
    events: 0n,
    storedAt: '',
  }
}
