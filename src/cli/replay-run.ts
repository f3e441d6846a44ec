import { type BridgeError, toBridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import {
  isOver,
  makeFindEvent,
  makeLedger,
  newReplayId,
  openDryRun,
  openReplay,
  outboxNames,
} from '../compose-replay.ts'
import type { LoadedConfig } from '../config/load.ts'
import { isEmptyRange, startOf } from '../replay/range.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord, ReplayRequest } from '../replay/replay-record.ts'
import { namesOf } from '../routing/column-map.ts'
import type { RoutedEvent } from '../routing/routing.ts'
import { requireGrants } from '../setup/check-grants.ts'
import { withControl } from '../setup/connect.ts'
import { expectedRows } from '../setup/expected-rows.ts'
import { requireSchema } from '../setup/migrate.ts'
import { planReplay } from '../setup/plan-replay.ts'
import { readReplayFacts } from '../setup/replay-facts.ts'
import { requireTableStart } from '../setup/replay-table.ts'
import { requireDestination } from '../setup/require-destination.ts'
import { inspectTable } from '../source/table.ts'
import { brokerOptions } from './broker-options.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { doneBy } from './done-by.ts'
import { reportFailure } from './failure.ts'
import { loadFor } from './options.ts'
import { Progress } from './progress.ts'
import { type ReplayFlags, refuseWithResume, requestOf } from './replay-options.ts'
import {
  countOf,
  describeEvent,
  describeProgress,
  describeRange,
  eventLine,
  fractionOf,
  progressText,
  rangeFacts,
} from './replay-report.ts'
import { stopOnSignals } from './stop-signals.ts'
import { formatTable } from './table.ts'

const statementTimeout_ms = 60_000
const silent = { info() {}, warn() {} }

export async function replayCommand(context: CliContext, flags: ReplayFlags): Promise<ExitCode> {
  if (flags.resume !== undefined) refuseWithResume(flags)
  const request = flags.resume === undefined ? requestOf(flags) : undefined
  const loaded = await loadFor(context, flags)
  // The live stream comes first where both share a machine: npm run bench -- --replay.
  context.tune({ smallHeap: true, givesWay: true })
  if (request === undefined) return resume(context, loaded, flags.resume!, flags)
  const plan = await planFor(context, loaded, request, flags)
  return flags.dryRun === true
    ? dryRun(context, loaded, request, plan, flags)
    : begin(context, loaded, request, plan, flags)
}

/** Says what the request comes to. */
async function planFor(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  flags: ReplayFlags,
): Promise<ReplayPlan> {
  const { slot } = loaded.config.source
  const { plan, notes } = await onControl(loaded, 'planning the replay', async (client) => {
    await requireSchema(client)
    await requireGrants(client, 'replay')
    const facts = await readReplayFacts(client, await loaded.sourceUrl(), slot)
    const { table, columns } = outboxNames(loaded)
    const found = (await inspectTable(client, table))?.columns.map(({ name }) => name) ?? []
    const hasTransactionId = namesOf(columns.transaction_id).some((name) => found.includes(name))
    if (request.from.startsWith('event:')) printNote(context, `looking for ${request.from} in the WAL`)
    return planReplay({
      client,
      facts,
      table: { slot, table, columns, hasTransactionId },
      findEvent: makeFindEvent(loaded, facts, silent),
      from: request.from,
      to: request.to,
      source: flags.source,
    })
  })
  printNote(context, `source ${plan.source}: ${describeRange(plan)}`)
  for (const note of notes) printNote(context, note)
  return plan
}

async function dryRun(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  plan: ReplayPlan,
  flags: ReplayFlags,
): Promise<ExitCode> {
  let events = 0
  let refused = 0
  let first: ReturnType<typeof describeEvent> | undefined
  let last: RoutedEvent | undefined
  const run = await openDryRun({ loaded, plan, request, log: silent, onTick: () => undefined }, (event) => {
    if (event.message === undefined) refused++
    else events++
    first ??= describeEvent(event, plan)
    last = event
  })
  const stop = stopOnSignals(context, () => {}, { text: 'stopping', onAsked: () => run.stop() })
  try {
    const outcome = isEmptyRange(plan.range) ? 'done' : await run.run()
    const shown = last === undefined ? undefined : describeEvent(last, plan)
    const rows = run.counts.read
    if (flags.json === true) {
      const counts = { rowsRead: rows, events, refused, first: first ?? null, last: shown ?? null }
      printJson(context, { dryRun: true, complete: outcome === 'done', ...rangeFacts(plan), ...counts })
    } else {
      const letters = refused === 0 ? '' : `, and keep ${countOf(refused, 'dead letter')} of what cannot be sent`
      printData(context, `would publish ${countOf(events, 'event')} of ${countOf(rows, 'row')} read${letters}`)
      if (first !== undefined && shown !== undefined) {
        printData(context, formatTable([eventLine('first', first), eventLine('last', shown)]))
      }
    }
    return outcome === 'done' ? exitCodes.done : exitCodes.failed
  } finally {
    stop.dispose()
  }
}

async function begin(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  plan: ReplayPlan,
  flags: ReplayFlags,
): Promise<ExitCode> {
  await requireDestination(await brokerOptions(loaded), request)
  const id = newReplayId()
  const start = plan.source === 'wal' ? startOf(plan.range) : { lsn: 0n, partial: null }
  const ledger = makeLedger(loaded, id)
  try {
    await ledger.begin({ kind: 'replay', startedBy: doneBy(), request, plan }, start)
    const progress = { settled: start, tableKey: undefined, read: 0, matched: 0, published: 0, dead: 0, dropped: 0 }
    return await carryOut(context, loaded, { id, request, plan, progress }, ledger, flags)
  } finally {
    await ledger.close()
  }
}

async function resume(context: CliContext, loaded: LoadedConfig, id: string, flags: ReplayFlags): Promise<ExitCode> {
  const ledger = makeLedger(loaded, id)
  try {
    const record = await ledger.resume()
    await onControl(loaded, 'looking at the server', async (client) => {
      await requireSchema(client)
      // Its LSNs must still be those of this server and its timeline.
      const { systemIdentifier, timeline, range } = record.plan
      await readReplayFacts(client, await loaded.sourceUrl(), loaded.config.source.slot, {
        systemIdentifier,
        timeline,
        lsn: range.to.lsn,
      })
    })
    printNote(context, `going on with replay ${id}: source ${record.plan.source}: ${describeRange(record.plan)}`)
    return await carryOut(context, loaded, record, ledger, flags)
  } finally {
    await ledger.close()
  }
}

type Replay = Pick<ReplayRecord, 'id' | 'request' | 'plan' | 'progress'>

async function carryOut(
  context: CliContext,
  loaded: LoadedConfig,
  replay: Replay,
  ledger: ReturnType<typeof makeLedger>,
  flags: ReplayFlags,
): Promise<ExitCode> {
  const { id, request, plan } = replay
  printNote(context, `replay ${id}`)
  await onControl(loaded, 'looking at the table', (client) =>
    requireTableStart(client, outboxNames(loaded), plan),
  ).catch(async (thrown) => {
    await ledger.end('failed', toBridgeError(thrown))
    throw thrown
  })
  const { slot, connectTimeout } = loaded.config.source
  const facts = { url: await loaded.sourceUrl(), connectTimeout, slot, names: outboxNames(loaded) }
  const expected = await expectedRows(facts, plan)
  if (expected === undefined && plan.source === 'table') {
    printNote(context, 'its rows could not be counted in a few seconds: no percentage, no time left')
  }
  const bar = new Progress(context)
  const show = () =>
    bar.show(() => {
      const progress = open.progress()
      const fraction = fractionOf(plan, progress, expected)
      const trouble = open.trouble()
      const text = progressText(fraction, progress, (performance.now() - begunAt) / 1000, replay.progress)
      return { fraction, text: trouble === undefined ? text : `${text}; broker: ${trouble.message}` }
    })
  const open = await openReplay({ loaded, plan, request, log: silent, onTick: show }, ledger, replay)
  const begunAt = performance.now()
  const stop = stopOnSignals(context, () => {}, {
    text: 'stopping: waiting for outstanding confirms',
    onAsked: () => open.run.stop(),
  })
  let failure: BridgeError | undefined
  let outcome: 'done' | 'stopped' | 'failed' = 'done'
  try {
    if (!isOver(plan, replay.progress.settled)) outcome = await open.run.run()
  } catch (thrown) {
    failure = toBridgeError(thrown)
    outcome = 'failed'
  } finally {
    stop.dispose()
    bar.clear()
    await open.close()
  }
  const progress = open.progress()
  await ledger.end(outcome, failure).catch((thrown: unknown) => {
    failure ??= toBridgeError(thrown)
  })
  const code = failure === undefined ? exitCodes.done : reportFailure(failure, context)
  report(context, replay, progress, {
    outcome,
    seconds: (performance.now() - begunAt) / 1000,
    json: flags.json === true,
  })
  if (code !== exitCodes.done) return code
  return outcome === 'done' && progress.dead === 0 ? exitCodes.done : exitCodes.failed
}

interface Ending {
  readonly outcome: 'done' | 'stopped' | 'failed'
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
  printNote(context, `to go on without a repeat: wal2rabbit replay --resume ${id}`)
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

async function onControl<T>(
  loaded: LoadedConfig,
  doing: string,
  work: Parameters<typeof withControl<T>>[2],
): Promise<T> {
  const { connectTimeout } = loaded.config.source
  const options = { applicationName: 'wal2rabbit replay', statementTimeout: statementTimeout_ms, connectTimeout }
  return withControl({ ...options, url: await loaded.sourceUrl() }, doing, work)
}
