import { type BridgeError, toBridgeError } from '../base/errors.ts'
import { openBackfill } from '../compose-backfill.ts'
import { makeLedger, newReplayId } from '../compose-replay.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ReplayProgress } from '../replay/replay-record.ts'
import type { BackfillJob, PublishBackfill } from '../setup/run-backfill.ts'
import { type CliContext, printNote } from './context.ts'
import { doneBy } from './done-by.ts'
import { Progress } from './progress.ts'
import { countOf, fractionOf, progressText } from './replay-report.ts'
import { stopOnSignals } from './stop-signals.ts'

const silent = { info() {}, warn() {} }
/** Of a progress that has no position to show. */
const nowhere = { lsn: 0n, partial: null }

/** Publishes with progress on standard error, until the first SIGINT or SIGTERM. */
export function backfillPublisher(context: CliContext, loaded: LoadedConfig): PublishBackfill {
  return async (job) => {
    const id = newReplayId()
    const ledger = makeLedger(loaded, id)
    const start = { lsn: job.plan.range.to.lsn - 1n, partial: null }
    const request = { from: 'backfill', where: [], rows: job.rows }
    try {
      await ledger.begin({ kind: 'backfill', startedBy: doneBy(), request, plan: job.plan }, start)
      printNote(context, `backfill ${id}: ${countOf(job.rows, 'row')}`)
      const none = { read: 0, matched: 0, published: 0, dead: 0, dropped: 0 }
      const record = { id, progress: { settled: start, tableKey: undefined, ...none } }
      return await publish(context, { loaded, ledger, record, log: silent }, job)
    } finally {
      await ledger.close()
    }
  }
}

async function publish(
  context: CliContext,
  options: Parameters<typeof openBackfill>[0],
  job: BackfillJob,
): Promise<ReplayProgress | undefined> {
  const { ledger, record } = options
  const bar = new Progress(context)
  const begunAt = performance.now()
  const show = () =>
    bar.show(() => {
      const progress = { ...open.progress(), settled: nowhere }
      const fraction = fractionOf(job.plan, progress, job.rows)
      const trouble = open.trouble()
      const text = progressText(fraction, progress, (performance.now() - begunAt) / 1000, record.progress)
      return { fraction, text: trouble === undefined ? text : `${text}; broker: ${trouble.message}` }
    })
  const open = await openBackfill(options, job, show)
  const halt = () => open.run.stop()
  const stop = stopOnSignals(context, () => {}, { text: 'stopping: waiting for outstanding confirms', onAsked: halt })
  job.lost.addEventListener('abort', halt)
  let outcome: 'done' | 'stopped' = 'stopped'
  let failure: BridgeError | undefined
  try {
    outcome = await open.run.run()
    job.lost.throwIfAborted()
  } catch (thrown) {
    failure = toBridgeError(thrown)
  } finally {
    job.lost.removeEventListener('abort', halt)
    stop.dispose()
    bar.clear()
    await open.close()
  }
  const progress = open.progress()
  if (failure !== undefined) {
    await ledger.end('failed', failure).catch(() => undefined) // the first error counts; it starts over either way
    throw failure
  }
  // One that is published stays open in the record until slot and checkpoint are made.
  if (outcome === 'stopped') await ledger.end('stopped')
  if (progress.dead > 0) printNote(context, `its dead letters: wal2rabbit dead-letters list --replay ${record.id}`)
  return outcome === 'done' ? progress : undefined
}
