import { BridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import type { Lsn } from '../base/lsn.ts'
import { quoteTable } from '../base/sql.ts'
import type { ServerFacts } from '../checkpoint/server-facts.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord } from '../replay/replay-record.ts'
import type { ReadableTable } from '../source/table-order.ts'
import type { TableRange } from '../source/table-query.ts'
import { failBackfills } from './backfill-record.ts'
import { type BackfillSlot, backfillSlotName, openBackfillSlot } from './backfill-slot.ts'
import { type HeldSnapshot, holdSnapshot } from './backfill-snapshot.ts'
import type { InitContext } from './init-step.ts'

/** Rows to be published before the live slot begins. */
export interface BackfillJob {
  readonly table: ReadableTable
  readonly range: TableRange
  /** Ends where the live slot will begin. */
  readonly plan: ReplayPlan
  /** In which the rows are read; stands until the job is over. */
  readonly snapshotId: string
  /** How many the snapshot sees: fewer that were read are too few. */
  readonly rows: number
  /** Aborted with a BridgeError when slot or snapshot is lost. */
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
 * persisted and closed by the caller; with undefined, and the slot closed, when it was stopped. Rejects with a BridgeError,
 * BACKFILL_INCOMPLETE when fewer rows came than the snapshot sees.
 */
export async function runBackfill(
  context: InitContext,
  work: BackfillWork,
): Promise<{ readonly slot: BackfillSlot; readonly progress: ReplayProgress } | undefined> {
  const lost = new AbortController()
  const slot = await openSlot(context, work.server, lost)
  let result: { readonly slot: BackfillSlot; readonly progress: ReplayProgress } | undefined
  try {
    failPoint('backfill-snapshot')
    const progress = await publishHeld(context, work, slot, lost)
    failPoint('backfill-published')
    result = progress && { slot, progress }
  } finally {
    if (result === undefined) await slot.close()
  }
  return result
}

async function openSlot(context: InitContext, server: ServerFacts, lost: AbortController): Promise<BackfillSlot> {
  const { url, connectTimeout, slot, plugin, notice } = context
  const text = `creating slot ${backfillSlotName(slot)} waits for the transactions that were already writing to end (see pg_stat_activity)`
  const timer = setTimeout(() => notice(text), 3000)
  try {
    const onLost = (error: Error) => lost.abort(error)
    return await openBackfillSlot({ url, connectTimeout, slot, plugin, serverVersion: server.version, notice, onLost })
  } finally {
    clearTimeout(timer)
  }
}

/** The table is held for as long as it takes. */
async function publishHeld(
  { client, url, connectTimeout, slot, notice }: InitContext,
  work: BackfillWork,
  { snapshotId, consistentPoint }: BackfillSlot,
  lost: AbortController,
): Promise<ReplayProgress | undefined> {
  const { table } = work
  const range = rangeOf(work)
  const control = { url, applicationName: 'wal2rabbit backfill', statementTimeout: 0, connectTimeout }
  const onLost = (error: Error) => lost.abort(error)
  const held = await holdSnapshot({ ...control, onLost }, { snapshotId, table, range, client, notice })
  try {
    const job = {
      table,
      range,
      plan: planOf(work, held, consistentPoint),
      snapshotId,
      rows: held.rows,
      lost: lost.signal,
    }
    const progress = await work.publish(job)
    lost.signal.throwIfAborted()
    if (progress !== undefined && progress.read < held.rows) {
      const failure = incomplete(job, progress)
      await failBackfills(client, slot, failure)
      throw failure
    }
    return progress
  } finally {
    await held.close()
  }
}

/** Should the slot never be made, the snapshot tells what was published. */
function planOf({ server, settled }: BackfillWork, { snapshot }: HeldSnapshot, consistentPoint: Lsn): ReplayPlan {
  return {
    source: 'table',
    range: { from: { lsn: 0n, rows: 0 }, to: { lsn: consistentPoint, rows: 0 } },
    fromSnapshot: settled?.plan.toSnapshot,
    toSnapshot: snapshot,
    systemIdentifier: server.systemIdentifier,
    timeline: server.timeline,
  }
}

function incomplete({ table, rows }: BackfillJob, { read }: ReplayProgress): BridgeError {
  return new BridgeError(
    'BACKFILL_INCOMPLETE',
    `the snapshot of the backfill sees ${rows} rows of table ${quoteTable(table.table)}, but only ${read} were read: some went away unread`,
  )
}
