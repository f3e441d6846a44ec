import { makeFindEvent, makeLedger, newReplayId, openDryRun, outboxNames } from '../compose-replay.ts'
import type { LoadedConfig } from '../config/load.ts'
import { isEmptyRange, startOf } from '../replay/range.ts'
import type { ReplayLedger } from '../replay/replay-ledger.ts'
import type { ReplayPlan, ReplayRecord, ReplayRequest } from '../replay/replay-record.ts'
import { namesOf } from '../routing/column-map.ts'
import type { RoutedEvent } from '../routing/routing.ts'
import { requireGrants } from '../setup/check-grants.ts'
import { withControl } from '../setup/connect.ts'
import { requireSchema } from '../setup/migrate.ts'
import { type PlannedReplay, planReplay } from '../setup/plan-replay.ts'
import { readReplayFacts } from '../setup/replay-facts.ts'
import { requireTableStart } from '../setup/replay-table.ts'
import { requireDestination } from '../setup/require-destination.ts'
import { inspectTable } from '../source/table.ts'
import { brokerOptions } from './broker-options.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { doneBy } from './done-by.ts'
import { loadFor } from './options.ts'
import { carryOut } from './replay-carry-out.ts'
import { type ReplayFlags, refuseWithResume, requestOf } from './replay-options.ts'
import { countOf, describeEvent, describeRange, eventLine, rangeFacts } from './replay-report.ts'
import { ReplayStop } from './replay-stop.ts'
import { formatTable } from './table.ts'

const statementTimeout_ms = 60_000
const silent = { info() {}, warn() {} }

export async function replayCommand(context: CliContext, flags: ReplayFlags): Promise<ExitCode> {
  if (flags.resume !== undefined) refuseWithResume(flags)
  const request = flags.resume === undefined ? requestOf(flags) : undefined
  const loaded = await loadFor(context, flags)
  // The live stream comes first where both share a machine: npm run bench -- --replay.
  context.tune({ smallHeap: true, givesWay: true })
  const stop = new ReplayStop(context)
  try {
    if (request === undefined) return await resume(context, loaded, flags.resume!, stop, flags)
    const planned = await stop.cut(() => planFor(context, loaded, request, flags))
    if (planned === undefined) return nothingDone(context)
    const { plan, notes } = planned
    printNote(context, `source ${plan.source}: ${describeRange(plan)}`)
    for (const note of notes) printNote(context, note)
    return flags.dryRun === true
      ? await dryRun(context, loaded, request, plan, stop, flags)
      : await begin(context, loaded, request, plan, stop, flags)
  } finally {
    stop.dispose()
  }
}

/** Stopped before there is anything to go on with. */
function nothingDone(context: CliContext): ExitCode {
  printNote(context, 'stopped: nothing was published, and nothing is recorded')
  return exitCodes.failed
}

/** What the request comes to. */
async function planFor(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  flags: ReplayFlags,
): Promise<PlannedReplay> {
  const { slot } = loaded.config.source
  return onControl(loaded, 'planning the replay', async (client) => {
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
}

async function dryRun(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  plan: ReplayPlan,
  stop: ReplayStop,
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
  stop.tell(() => run.stop())
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
}

async function begin(
  context: CliContext,
  loaded: LoadedConfig,
  request: ReplayRequest,
  plan: ReplayPlan,
  stop: ReplayStop,
  flags: ReplayFlags,
): Promise<ExitCode> {
  const there = await stop.cut(async () => {
    await requireDestination(await brokerOptions(loaded), request)
    return true
  })
  if (there === undefined) return nothingDone(context)
  const id = newReplayId()
  const start = plan.source === 'wal' ? startOf(plan.range) : { lsn: 0n, partial: null }
  const ledger = makeLedger(loaded, id)
  try {
    await ledger.begin({ kind: 'replay', startedBy: doneBy(), request, plan }, start)
    const progress = { settled: start, tableKey: undefined, read: 0, matched: 0, published: 0, dead: 0, dropped: 0 }
    return await carryOut({ context, loaded, ledger, stop, json: flags.json === true }, { id, request, plan, progress })
  } finally {
    await ledger.close()
  }
}

async function resume(
  context: CliContext,
  loaded: LoadedConfig,
  id: string,
  stop: ReplayStop,
  flags: ReplayFlags,
): Promise<ExitCode> {
  const ledger = makeLedger(loaded, id)
  try {
    const record = await stop.cut(() => readResumable(loaded, ledger))
    if (record === undefined) {
      printNote(context, `stopped: nothing was published, and replay ${id} is recorded as it was`)
      return exitCodes.failed
    }
    await ledger.resume()
    printNote(context, `going on with replay ${id}: source ${record.plan.source}: ${describeRange(record.plan)}`)
    return await carryOut({ context, loaded, ledger, stop, json: flags.json === true }, record)
  } finally {
    await ledger.close()
  }
}

/** Asks first and takes it up then: what refuses it now must not cover what ended it before. */
async function readResumable(loaded: LoadedConfig, ledger: ReplayLedger): Promise<ReplayRecord> {
  const record = await ledger.read()
  await onControl(loaded, 'looking at the server', async (client) => {
    await requireSchema(client)
    // Its LSNs must still be those of this server and its timeline.
    const { systemIdentifier, timeline, range } = record.plan
    const { lsn, rows } = range.to
    await readReplayFacts(client, await loaded.sourceUrl(), loaded.config.source.slot, {
      systemIdentifier,
      timeline,
      // Rows at its end are of a transaction whose commit record starts there: it must lie within that timeline.
      lsn: rows > 0 ? lsn + 1n : lsn,
    })
    await requireTableStart(client, outboxNames(loaded), record.plan)
  })
  return record
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
