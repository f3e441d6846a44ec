import { failPoint } from '../base/fail-point.ts'
import { readableSnapshot } from '../base/snapshot-text.ts'
import { quoteLiteral } from '../base/sql.ts'
import type { ServerFacts } from '../checkpoint/server-facts.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord } from '../replay/replay-record.ts'
import type { ReadableTable } from '../source/table-order.ts'
import { countTableSql, type TableRange } from '../source/table-query.ts'
import { type BackfillSlot, backfillSlotName, openBackfillSlot } from './backfill-slot.ts'
import { withControl } from './connect.ts'
import type { InitContext } from './init-step.ts'

/** Rows to be published before the live slot begins. */
export interface BackfillJob {
  readonly table: ReadableTable
  readonly range: TableRange
  /** Ends where the live slot will begin. */
  readonly plan: ReplayPlan
  /** In which the rows are read; stands until the job is over. */
  readonly snapshotId: string
  /** How many there are. */
  readonly rows: number
  /** Aborted with a BridgeError when slot and snapshot are lost. */
  readonly lost: AbortSignal
}

/**
 * Publishes the rows and records how far it has come. Resolves with what it came to, when every row is settled and that is
 * recorded; with undefined when it was stopped. Rejects with a BridgeError.
 */
export type PublishBackfill = (job: BackfillJob) => Promise<ReplayProgress | undefined>

/** What is to be published, and what was before. */
export interface BackfillWork {
  readonly table: ReadableTable
  readonly server: ServerFacts
  /** Its rows are published already: only what it did not see is left. */
  readonly settled: ReplayRecord | undefined
  readonly publish: PublishBackfill
}

/** Rows that are there and that no earlier backfill published. */
export function rangeOf({ settled }: Pick<BackfillWork, 'settled'>): TableRange {
  return { notVisibleIn: settled?.plan.toSnapshot }
}

/**
 * Makes the temporary slot and publishes the rows that are there where it begins. Resolves with the slot, which is to be
 * persisted and closed by the caller; with undefined, and the slot closed, when it was stopped. Rejects with a BridgeError.
 */
export async function runBackfill(
  context: InitContext,
  work: BackfillWork,
): Promise<{ readonly slot: BackfillSlot; readonly progress: ReplayProgress } | undefined> {
  const lost = new AbortController()
  const slot = await openSlot(context, work.server, lost)
  let progress: ReplayProgress | undefined
  try {
    failPoint('backfill-snapshot')
    progress = await work.publish(await describeJob(context, work, slot, lost.signal))
    lost.signal.throwIfAborted()
    failPoint('backfill-published')
  } finally {
    if (progress === undefined) await slot.close()
  }
  return progress && { slot, progress }
}

async function openSlot(context: InitContext, server: ServerFacts, lost: AbortController): Promise<BackfillSlot> {
  const { url, connectTimeout, slot, plugin, notice } = context
  const text = `creating slot ${backfillSlotName(slot)} waits for the transactions that were already writing to end (see pg_stat_activity)`
  const timer = setTimeout(() => notice(text), 3000)
  try {
    const onLost = (error: Error) => lost.abort(error)
    return await openBackfillSlot({ url, connectTimeout, slot, plugin, serverVersion: server.version, onLost })
  } finally {
    clearTimeout(timer)
  }
}

/** Counts in the snapshot itself, and reads what it sees: should the slot never be made, that tells what was published. */
async function describeJob(
  { url, connectTimeout }: InitContext,
  work: BackfillWork,
  { snapshotId, consistentPoint }: BackfillSlot,
  lost: AbortSignal,
): Promise<BackfillJob> {
  const { table, server, settled } = work
  const range = rangeOf(work)
  const control = { url, applicationName: 'wal2rabbit backfill', statementTimeout: 0, connectTimeout }
  const { snapshot, rows } = await withControl(control, 'counting the rows', async (client) => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    await client.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshotId)}`)
    const seen = await client.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot')
    const counted = await client.query<{ rows: string }>(countTableSql(table, range))
    return { snapshot: readableSnapshot(seen.rows[0]!.snapshot), rows: Number(counted.rows[0]!.rows) }
  })
  const plan: ReplayPlan = {
    source: 'table',
    range: { from: { lsn: 0n, rows: 0 }, to: { lsn: consistentPoint, rows: 0 } },
    fromSnapshot: settled?.plan.toSnapshot,
    toSnapshot: snapshot,
    systemIdentifier: server.systemIdentifier,
    timeline: server.timeline,
  }
  return { table, range, plan, snapshotId, rows, lost }
}
