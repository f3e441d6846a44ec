import type { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { listReplays, type ReplayRecord } from '../replay/replay-record.ts'

/** Far more than anybody starts over. */
const records_max = 1000

/** Backfills of a slot that have not come to its first checkpoint, newest first. */
export interface UnfinishedBackfills {
  /** Every row of it is settled; killed before slot and checkpoint were made. */
  readonly published: ReplayRecord | undefined
  /** Stopped, failed or killed while rows were published, and not yet marked as abandoned. */
  readonly interrupted: readonly ReplayRecord[]
  /** The last one came to its end. */
  readonly isDone: boolean
}

/** Errors are those of the client. */
export async function findBackfills(client: PostgresClient, slot: string): Promise<UnfinishedBackfills> {
  const all = (await listReplays(client, slot, records_max)).filter(({ kind }) => kind === 'backfill')
  const open = all.filter(({ state }) => state !== 'done' && state !== 'abandoned')
  return {
    published: open.find(isPublished),
    interrupted: open.filter((record) => !isPublished(record)),
    isDone: all[0]?.state === 'done',
  }
}

/** The end of the range is settled with the last row, and not before. Rows that went away unread may come back. */
function isPublished({ plan, progress, request }: ReplayRecord): boolean {
  return progress.settled.lsn === plan.range.to.lsn && progress.read >= (request.rows ?? 0)
}

/** Notes why those that came to the end of their rows count for nothing. Errors are those of the client. */
export async function failBackfills(client: PostgresClient, slot: string, error: BridgeError): Promise<void> {
  const text = `UPDATE wal2rabbit.replay SET state = 'failed', error_code = $2, error_text = $3,
    updated_at = clock_timestamp(), finished_at = clock_timestamp()
    WHERE slot = $1 AND kind = 'backfill' AND state = 'running'`
  await client.query({ text, values: [slot, error.code, error.message] })
}

/**
 * Takes back what interrupted backfills left behind: their rows are read again, so their dead letters would be kept twice.
 * Errors are those of the client.
 */
export async function abandonBackfills(client: PostgresClient, records: readonly ReplayRecord[]): Promise<void> {
  const values = [records.map(({ id }) => id)]
  await client.query({ text: 'DELETE FROM wal2rabbit.dead_letter WHERE replay_id = ANY($1)', values })
  const text = `UPDATE wal2rabbit.replay SET state = 'abandoned', updated_at = clock_timestamp(),
    finished_at = clock_timestamp() WHERE id = ANY($1) AND kind = 'backfill'`
  await client.query({ text, values })
}

/** With the first checkpoint, whoever stores it: what was published is done, what was interrupted is given up. */
export async function settleBackfills(client: PostgresClient, slot: string): Promise<void> {
  const text = `UPDATE wal2rabbit.replay SET
    state = CASE WHEN lsn = to_lsn AND rows_read >= coalesce((request->>'rows')::bigint, 0) THEN 'done' ELSE 'abandoned' END,
    updated_at = clock_timestamp(), finished_at = clock_timestamp()
    WHERE slot = $1 AND kind = 'backfill' AND state NOT IN ('done', 'abandoned')`
  await client.query({ text, values: [slot] })
}
