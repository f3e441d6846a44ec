import { type BridgeError, toBridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import { isOver, openReplay, outboxNames } from '../compose-replay.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { ReplayLedger } from '../replay/replay-ledger.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord } from '../replay/replay-record.ts'
import { withControl } from '../setup/connect.ts'
import { expectedRows } from '../setup/expected-rows.ts'
import { requireTableStart } from '../setup/replay-table.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { reportFailure } from './failure.ts'
import { Progress } from './progress.ts'
import { countOf, describeProgress, fractionOf, progressText, rangeFacts } from './replay-report.ts'
import type { ReplayStop } from './replay-stop.ts'

const statementTimeout_ms = 60_000
const silent = { info() {}, warn() {} }

type Replay = Pick<ReplayRecord, 'id' | 'request' | 'plan' | 'progress'>
type Outcome = 'done' | 'stopped' | 'failed'

export interface CarryOutOptions {
  readonly context: CliContext
  readonly loaded: LoadedConfig
  readonly ledger: ReplayLedger
  readonly stop: ReplayStop
  /** Prints one JSON document. */
  readonly json: boolean
}

/** Publishes what is left of a replay that is recorded as running. However it ends, that is recorded, said, and the exit code. */
export async function carryOut(options: CarryOutOptions, replay: Replay): Promise<ExitCode> {
  const { context, ledger, json } = options
  printNote(context, `replay ${replay.id}`)
  const run = new RecordedRun(options, replay)
  let outcome: Outcome
  let failure: BridgeError | undefined
  try {
    outcome = await run.toItsEnd()
  } catch (thrown) {
    failure = toBridgeError(thrown)
    outcome = 'failed'
  }
  await ledger.end(outcome, failure).catch((thrown: unknown) => {
    failure ??= toBridgeError(thrown)
  })
  const { progress, seconds } = run
  const code = failure === undefined ? exitCodes.done : reportFailure(failure, context)
  report(context, replay, progress, { outcome, seconds, json })
  if (code !== exitCodes.done) return code
  return outcome === 'done' && progress.dead === 0 ? exitCodes.done : exitCodes.failed
}

/** From the record to the last confirm. */
class RecordedRun {
  readonly #options: CarryOutOptions
  readonly #replay: Replay
  #progress: () => ReplayProgress
  #begunAt = performance.now()

  constructor(options: CarryOutOptions, replay: Replay) {
    this.#options = options
    this.#replay = replay
    this.#progress = () => replay.progress
  }

  get progress(): ReplayProgress {
    return this.#progress()
  }

  get seconds(): number {
    return (performance.now() - this.#begunAt) / 1000
  }

  /** Rejects with what ended it, when everything is closed. */
  async toItsEnd(): Promise<Outcome> {
    const { context, loaded, ledger, stop } = this.#options
    const { plan, request, progress: before } = this.#replay
    const expected = await stop.cut(() => this.#look())
    if (stop.asked) return 'stopped'
    const bar = new Progress(context)
    const show = () =>
      bar.show(() => {
        const fraction = fractionOf(plan, this.progress, expected)
        const text = progressText(fraction, this.progress, this.seconds, before)
        const trouble = open.trouble()
        return { fraction, text: trouble === undefined ? text : `${text}; broker: ${trouble.message}` }
      })
    const open = await openReplay({ loaded, plan, request, log: silent, onTick: show }, ledger, this.#replay)
    this.#progress = open.progress
    this.#begunAt = performance.now()
    stop.tell(() => open.run.stop(), 'stopping: waiting for outstanding confirms')
    try {
      return isOver(plan, before.settled) ? 'done' : await open.run.run()
    } finally {
      bar.clear()
      await open.close()
    }
  }

  /** How many rows are expected, if that can be told. Rejects where rows of the range are gone. */
  async #look(): Promise<number | undefined> {
    const { context, loaded } = this.#options
    const { plan } = this.#replay
    const { slot, connectTimeout } = loaded.config.source
    const url = await loaded.sourceUrl()
    const names = outboxNames(loaded)
    if (plan.source === 'table') {
      const control = { applicationName: 'wal2rabbit replay', statementTimeout: statementTimeout_ms, connectTimeout }
      await withControl({ ...control, url }, 'looking at the table', (client) => requireTableStart(client, names, plan))
    }
    const rows = await expectedRows({ url, connectTimeout, slot, names }, plan)
    if (rows === undefined && plan.source === 'table' && !this.#options.stop.asked) {
      printNote(context, 'its rows could not be counted in a few seconds: no percentage, no time left')
    }
    return rows
  }
}

interface Ending {
  readonly outcome: Outcome
  readonly seconds: number
  readonly json: boolean
}

function report(context: CliContext, { id, plan }: Replay, progress: ReplayProgress, ending: Ending): void {
  const { outcome, seconds, json } = ending
  const next = outcome === 'done' ? null : nextFrom(plan, progress)
  if (json) {
    const facts = { id, state: outcome, ...rangeFacts(plan) }
    printJson(context, { ...facts, ...describeProgress(plan, progress), seconds, goOn: next })
  } else {
    const { published, dead, dropped } = progress
    const parts = [
      `${countOf(published, 'event')} published`,
      dead > 0 ? `${countOf(dead, 'dead letter')} kept` : undefined,
      dropped > 0 ? `${countOf(dropped, 'event')} dropped` : undefined,
    ]
    printData(context, `replay ${id} ${outcome}: ${parts.filter(Boolean).join(', ')} in ${seconds.toFixed(1)} s`)
  }
  if (progress.dead > 0) printNote(context, `its dead letters: wal2rabbit dead-letters list --replay ${id}`)
  if (outcome === 'done') return
  // The rows of one transaction and one time have one key: a read that goes on there has all of them again.
  const repeats = plan.source === 'wal' || progress.read === 0 ? 'without a repeat' : 'with the last transaction again'
  printNote(context, `to go on ${repeats}: wal2rabbit replay --resume ${id}`)
  if (next !== null)
    printNote(
      context,
      `or from there anew: --from ${next.from}${next.repeats > 0 ? ` (repeats up to ${next.repeats} rows of one transaction)` : ''}`,
    )
}

/** Where a new replay would go on; the table has no such place. */
function nextFrom({ source }: ReplayPlan, { settled }: ReplayProgress): { from: string; repeats: number } | null {
  if (source === 'table') return null
  return { from: formatLsn(settled.lsn), repeats: settled.partial?.rows ?? 0 }
}
