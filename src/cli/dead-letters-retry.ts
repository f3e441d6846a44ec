import type { Client } from 'pg'
import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import { countDeadLetters, missingEvents } from '../dead-letter/find-dead-letters.ts'
import { Redelivery } from '../dead-letter/redelivery.ts'
import type { Selection } from '../dead-letter/selection.ts'
import { requireGrants } from '../setup/check-grants.ts'
import { attempt } from '../setup/connect.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { withDeadLetters } from './dead-letters-connection.ts'
import { requireSelection, type SelectionFlags } from './dead-letters-options.ts'
import { reroutingFor } from './dead-letters-routing.ts'
import { printMissing } from './dead-letters-show.ts'
import { SinkRedeliverer } from './dead-letters-sink.ts'
import { printStranded, Stranded } from './dead-letters-stranded.ts'
import { Tally } from './dead-letters-tally.ts'
import { doneBy } from './done-by.ts'
import { reportFailure } from './failure.ts'
import { loadFor } from './options.ts'
import { stopOnSignals } from './stop-signals.ts'

export function retryCommand(context: CliContext, ids: readonly string[], flags: SelectionFlags): Promise<ExitCode> {
  return redeliver(context, ids, flags, 'retrying dead letters', async (run) => {
    await run.redelivery.retry(run.selection)
  })
}

export function discardCommand(
  context: CliContext,
  ids: readonly string[],
  flags: SelectionFlags & { readonly yes?: boolean },
): Promise<ExitCode> {
  return redeliver(context, ids, flags, 'discarding dead letters', async ({ redelivery, selection, total }) => {
    const terminal = context.stdout.isTTY === true && context.stderr.isTTY === true
    if (flags.yes !== true && total > 0 && (total > 1 || !terminal)) {
      throw new BridgeError('USAGE', `this would discard ${total} for good; say --yes if that is meant`)
    }
    await redelivery.discard(selection)
  })
}

interface Run {
  readonly redelivery: Redelivery
  readonly selection: Selection
  /** Dead letters that it selects. */
  readonly total: number
}

/** What both commands have in common: who is missing, progress, SIGINT, the sum, the exit code. */
async function redeliver(
  context: CliContext,
  ids: readonly string[],
  flags: SelectionFlags,
  doing: string,
  work: (run: Run) => Promise<void>,
): Promise<ExitCode> {
  const asked = requireSelection(ids, flags)
  const loaded = await loadFor(context, flags)
  const redeliverer = new SinkRedeliverer(loaded)
  const stranded = new Stranded()
  const warnOfStranded = () => printStranded(context, stranded.suspects, 'may still be parked')
  const stop = stopOnSignals(context, warnOfStranded)
  try {
    return await withDeadLetters(loaded, doing, async (client, slot) => {
      // Before anything is sent: what cannot be removed afterwards would be sent with each try.
      await attempt(doing, () => requireGrants(client, 'redeliver'))
      const missing = await missingEvents(client, slot, ids)
      for (const eventId of missing) printMissing(context, eventId, slot)
      // What comes in from here on is not meant: else a command would chase a bridge that adds more.
      const selection = { ...asked, until: asked.until ?? (await now(client)) }
      const total = await countDeadLetters(client, slot, selection)
      const tally = new Tally(context, total)
      const redelivery = new Redelivery({
        client,
        slot,
        redeliverer,
        routing: await attempt(doing, () => reroutingFor(client, slot, loaded)),
        doneBy: doneBy(),
        stopAsked: stop.asked,
        onSettled: (letter, outcome) => {
          tally.add(letter, outcome)
          stranded.note(letter)
          if (outcome.kind !== 'discarded') return
          const position = `${formatLsn(letter.commitLsn)}#${letter.ordinal}`
          const line = `discarded event ${letter.eventId ?? 'without id'} (${position}, ${letter.reasonCode})`
          if (flags.json === true) printNote(context, line)
          else printData(context, line)
        },
      })
      let exitCode: ExitCode = exitCodes.done
      try {
        await attempt(doing, () => work({ redelivery, selection, total }))
      } catch (error) {
        if (error instanceof BridgeError && error.code === 'USAGE') throw error
        tally.clear()
        exitCode = reportFailure(error, context)
        // Then the broker alone is in trouble, and the count of what is left can still be read.
        if (!(error instanceof BridgeError) || !error.code.startsWith('SINK_')) {
          warnOfStranded()
          return exitCode
        }
      }
      const { left, behind } = await attempt('counting the dead letters', async () => ({
        left: await countDeadLetters(client, slot, selection),
        behind: await stranded.find(client, slot),
      })).catch((error) => {
        warnOfStranded()
        throw error
      })
      tally.finish(left, stop.asked() || exitCode !== exitCodes.done)
      printStranded(context, behind, 'are still parked')
      const facts = { ...tally.facts, notFound: missing, stopped: stop.asked(), stranded: behind }
      if (flags.json === true) printJson(context, facts)
      if (exitCode !== exitCodes.done) return exitCode
      const undone = tally.failed + left + missing.length + behind.aggregates
      return undone > 0 || stop.asked() ? exitCodes.failed : exitCodes.done
    })
  } finally {
    stop.dispose()
    await redeliverer.close()
  }
}

async function now(client: Client): Promise<string> {
  const { rows } = await client.query<{ now: string }>({ text: 'SELECT clock_timestamp()::text AS now' })
  return String(rows[0]?.now)
}
