import type { Command } from 'commander'
import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import { describePosition } from '../checkpoint/positions.ts'
import type { LoadedConfig } from '../config/load.ts'
import { parsePosition } from '../replay/position.ts'
import type { RewindRequest, RewindWork } from '../setup/rewind.ts'
import type { StartPosition } from '../source/source.ts'
import { type CliContext, colour, type ExitCode, exitCodes, printJson, printNote } from './context.ts'
import { doneBy } from './done-by.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'

interface RewindFlags extends ConfigFlags {
  readonly to?: string
  readonly resume?: boolean
  readonly abort?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

export function addRewindCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('rewind')
    .description('move the live position back, so that everything from there on is published again (bridge stopped)')
    .option('--to <position>', 'an LSN, an ISO 8601 time, event:<id>, or the name of a mark')
    .option('--resume', 'finish a rewind that was interrupted')
    .option('--abort', 'give up a rewind that was interrupted, as long as the old slot is there')
    .option('--yes', 'do it; without this it is only said what would be done')
    .option('--json', 'print what was or would be done as JSON')
    .addHelpText(
      'after',
      `
Stop the bridge and its stand-bys first, and start them afterwards. Consumers get the events again with the same ids and
positions as the first time, without the header wal-replay: to send a past range beside the live stream, or to one queue
only, use "wal2rabbit replay". It can be killed at any time: the bridge stays halted until "rewind --resume --yes".

Exit codes: 0 done, 1 failed, 2 usage or without --yes, 3 an operator must act: a bridge
runs, nothing reaches back that far, or another rewind is unfinished.`,
    )
  addConfigOptions(command).action(async (flags: RewindFlags) => finish(await rewind(context, flags)))
}

async function rewind(context: CliContext, flags: RewindFlags): Promise<ExitCode> {
  checkFlags(flags)
  const loaded = await loadFor(context, flags)
  const request = await requestOf(context, loaded, flags)
  const { slot, plugin, connectTimeout } = loaded.config.source
  const { runRewind } = await import('../setup/rewind.ts')
  const apply = flags.yes === true
  let begun = false
  try {
    const work = await runRewind({
      url: await loaded.sourceUrl(),
      connectTimeout,
      slot,
      plugin,
      startedBy: doneBy(),
      request,
      apply,
      onWork: (found) => {
        for (const line of describeWork(slot, found)) printNote(context, line)
      },
      onStep: (text) => {
        begun = true
        printNote(context, `${colour(context, context.stderr, 'green', 'done')}  ${text}`)
      },
      onNotice: (text) => printNote(context, text),
    })
    return report(context, { slot, apply, json: flags.json === true }, work)
  } catch (error) {
    if (begun)
      printNote(context, 'the rewind is unfinished: no bridge starts before "wal2rabbit rewind --resume --yes"')
    throw error
  }
}

function checkFlags({ to, resume, abort }: RewindFlags): void {
  const given = [to !== undefined, resume === true, abort === true].filter(Boolean).length
  if (given !== 1) throw new BridgeError('USAGE', `expected one of --to, --resume and --abort, ${given} are given`)
  if (to !== undefined) parsePosition(to, '--to')
}

async function requestOf(context: CliContext, loaded: LoadedConfig, flags: RewindFlags): Promise<RewindRequest> {
  if (flags.to === undefined) return { kind: flags.resume === true ? 'resume' : 'abort' }
  const { locateTarget } = await import('./rewind-target.ts')
  const say = (text: string) => printNote(context, text)
  return { kind: 'to', locate: locateTarget(loaded, parsePosition(flags.to, '--to'), say) }
}

/** Lines for people, before anything is changed. */
export function describeWork(slot: string, work: RewindWork): string[] {
  if (work.kind === 'nothing') {
    return [`nothing to do: slot ${slot} stands there already, or no rewind of it is unfinished`]
  }
  if (work.kind !== 'begin') {
    const { from, target, startedBy, startedAt } = work.intent
    const verb = work.kind === 'resume' ? 'finishes' : 'gives up'
    const way = `from ${describePosition(from)} to ${describePosition(target)}`
    return [`${verb} the rewind of slot ${slot} ${way}, begun by ${startedBy}, ${startedAt}`]
  }
  const { from, target, bytes, eventsAtMost, baseSlot, failover } = work.plan
  const events =
    eventsAtMost === undefined ? 'events that the history does not count' : `at most ${eventsAtMost} events`
  const again = failover ? ', which gets failover = true again' : ''
  const through =
    baseSlot === slot ? 'kept, it reaches back that far itself' : `replaced by a copy of ${baseSlot}${again}`
  return [
    `rewind of slot ${slot}`,
    `  from   ${describePosition(from)}, the stored position`,
    `  to     ${describePosition(target)}`,
    `  again  ${bytes} bytes of WAL, ${events}`,
    `  slot   ${through}`,
    'Consumers get these events again, with the same ids and positions, and without the header wal-replay.',
    ...work.replays.map(
      ({ id, startedBy }) =>
        `Replay ${id} is running (by ${startedBy}): what lies in both ranges comes from both. Wait for its end, or stop it.`,
    ),
    ...(work.inUse ? [`Slot ${slot} is in use: stop the bridge and its stand-bys first.`] : []),
  ]
}

function report(
  context: CliContext,
  { slot, apply, json }: { readonly slot: string; readonly apply: boolean; readonly json: boolean },
  work: RewindWork,
): ExitCode {
  const applied = apply && work.kind !== 'nothing'
  const state = work.kind === 'nothing' ? 'nothing' : applied ? (work.kind === 'abort' ? 'aborted' : 'done') : 'planned'
  if (json) printJson(context, { slot, state, ...facts(work) })
  if (work.kind === 'nothing') return exitCodes.done
  if (!applied) {
    printNote(context, 'Nothing was changed: add --yes to do it.')
    return exitCodes.usage
  }
  printNote(context, work.kind === 'abort' ? 'Given up; the bridge may be started.' : 'Done; start the bridge.')
  return exitCodes.done
}

/** LSNs as text, sizes and counts as text, since they may exceed what a JSON number holds. */
function facts(work: RewindWork): object {
  if (work.kind === 'nothing') return {}
  if (work.kind !== 'begin') {
    const { from, target, baseSlot, failover, startedBy, startedAt } = work.intent
    return { from: positionJson(from), to: positionJson(target), baseSlot, failover, startedBy, startedAt }
  }
  const { from, target, bytes, eventsAtMost = null, baseSlot, failover } = work.plan
  const runningReplays = work.replays.map(({ id }) => id)
  return { from: positionJson(from), to: positionJson(target), bytes, eventsAtMost, baseSlot, failover, runningReplays }
}

function positionJson({ lsn, partial }: StartPosition): object {
  const rows = partial === null ? null : { commitLsn: formatLsn(partial.commitLsn), rows: partial.rows }
  return { lsn: formatLsn(lsn), partial: rows }
}
