import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { recordHistory } from '../checkpoint/checkpoint-history.ts'
import type { CheckpointRow } from '../checkpoint/checkpoint-row.ts'
import type { StartPosition } from '../source/source.ts'

export interface NewIntent {
  readonly target: StartPosition
  readonly baseSlot: string
  readonly failover: boolean
  /** `user@host`. */
  readonly startedBy: string
}

/**
 * Shuts out every bridge and writes down what is to be done, in one statement: the row of the checkpoint gets another
 * epoch and version, so that who has read it before can neither claim nor store any more, and who reads it later finds
 * the intent. Throws BRIDGE_RUNNING when the row is no longer the one that was looked at.
 */
export async function writeIntent(client: PostgresClient, row: CheckpointRow, intent: NewIntent): Promise<void> {
  const { target, baseSlot, failover, startedBy } = intent
  const { rowCount } = await client.query({
    text: `WITH fenced AS (
        UPDATE wal2rabbit.checkpoint SET epoch = epoch + 1, version = version + 1, owner = 'rewind by ' || $3
        WHERE slot = $1 AND version = $2 RETURNING slot, lsn, partial_commit_lsn, partial_rows)
      INSERT INTO wal2rabbit.rewind (slot, target_lsn, target_commit_lsn, target_rows,
        from_lsn, from_commit_lsn, from_rows, base_slot, failover, started_by)
      SELECT slot, $4, $5, $6, lsn, partial_commit_lsn, partial_rows, $7, $8, $3 FROM fenced`,
    values: [row.slot, row.version, startedBy, ...columnsOf(target), baseSlot, failover],
  })
  if (rowCount === 1) return
  throw new BridgeError(
    'BRIDGE_RUNNING',
    `checkpoint of slot ${row.slot} changed while it was looked at: it no longer has version ${row.version}, so a bridge is at work`,
  )
}

/** Sets the stored position, and says so in the history, together. Throws CHECKPOINT_FENCED as a store does. */
export async function moveCheckpoint(client: PostgresClient, row: CheckpointRow, to: StartPosition): Promise<void> {
  await client.query({ text: 'BEGIN' })
  try {
    const { rowCount } = await client.query({
      text: `UPDATE wal2rabbit.checkpoint SET lsn = $3, partial_commit_lsn = $4, partial_rows = $5, epoch = epoch + 1,
          version = version + 1, owner = '', stored_at = clock_timestamp()
        WHERE slot = $1 AND version = $2`,
      values: [row.slot, row.version, ...columnsOf(to)],
    })
    if (rowCount !== 1) {
      throw new BridgeError(
        'CHECKPOINT_FENCED',
        `checkpoint of slot ${row.slot} was changed by somebody else: expected version ${row.version}`,
      )
    }
    await recordHistory(client, row.slot, 'rewind')
    await client.query({ text: 'COMMIT' })
  } catch (error) {
    await client.query({ text: 'ROLLBACK' }).catch(() => undefined) // the connection may be gone; the first error counts
    throw error
  }
}

/** From here on a bridge may start. */
export async function deleteIntent(client: PostgresClient, slot: string): Promise<void> {
  await client.query({ text: 'DELETE FROM wal2rabbit.rewind WHERE slot = $1', values: [slot] })
}

function columnsOf({ lsn, partial }: StartPosition): unknown[] {
  return [formatLsn(lsn), ...(partial === null ? [null, null] : [formatLsn(partial.commitLsn), partial.rows])]
}
