import { type Command, InvalidArgumentError } from 'commander'
import { formatLsn } from '../base/lsn.ts'
import { parseTableName } from '../base/sql.ts'
import type { LoadedConfig } from '../config/load.ts'
import { resolveColumns } from '../routing/column-map.ts'
import type { CheckpointsOptions, SourceReach } from '../setup/stored-checkpoints.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { formatTable } from './table.ts'

interface CheckpointsFlags extends ConfigFlags {
  readonly json?: boolean
  readonly reach?: boolean
  readonly limit: number
}

export function addCheckpointsCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('checkpoints')
    .description('the stored LSNs, when each was stored and what can be replayed from it, newest first')
    .option('--limit <count>', 'how many to list', parseLimit, 20)
    .option('--reach', 'only how far back each source reaches')
    .option('--json', 'print a JSON array; with --reach an object')
    // Else the flags of mark and unmark, which have the same names, would be taken for those of the list.
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Each line is a place that a replay can start at: "replayable" says from what, the WAL that slots keep or rows of the
table. Reads PostgreSQL; works with and without a running bridge, as do mark and unmark.`,
    )
  addConfigOptions(command).action(async (flags: CheckpointsFlags) => finish(await list(context, flags)))

  /** Flags may stand before the name of the subcommand as well. */
  const flagsOf = (flags: ConfigFlags): ConfigFlags => {
    const { config, set } = command.opts<CheckpointsFlags>()
    return { ...(config !== undefined && { config }), ...flags, set: [...set, ...flags.set] }
  }
  const mark = command
    .command('mark')
    .description('keep the present stored LSN under a name, for example before a risky release')
    .argument('<name>', 'a letter, then up to 99 of A-Z a-z 0-9 . _ -')
    .option('--json', 'print the entry as JSON')
    .addHelpText('after', '\nMarks are never pruned; a replay or a rewind takes one wherever it takes an LSN.')
  addConfigOptions(mark).action(async (name: string, flags: ConfigFlags & { json?: boolean }) => {
    const json = flags.json ?? command.opts<CheckpointsFlags>().json
    finish(await markCommand(context, name, flagsOf(flags), json === true))
  })

  const unmark = command.command('unmark').description('remove a mark').argument('<name>')
  addConfigOptions(unmark).action(async (name: string, flags: ConfigFlags) =>
    finish(await unmarkCommand(context, name, flagsOf(flags))),
  )
}

async function list(context: CliContext, flags: CheckpointsFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { listCheckpoints } = await import('../setup/stored-checkpoints.ts')
  const { entries, reach } = await listCheckpoints({ ...(await optionsOf(loaded)), limit: flags.limit })
  const reachLines = Object.entries(reach).map(([source, one]) => `${source}: ${reachText(one)}`)
  if (flags.json === true) printJson(context, flags.reach === true ? reach : entries)
  else if (flags.reach === true) for (const line of reachLines) printData(context, line)
  else {
    const lines = entries.map(({ replayable, ...entry }) => ({
      ...entry,
      replayable: replayable.length === 0 ? 'neither' : replayable.join(', '),
    }))
    if (lines.length > 0) printData(context, formatTable(lines))
    else printNote(context, `no checkpoint of slot ${loaded.config.source.slot} is stored yet`)
    for (const line of reachLines) printNote(context, line)
  }
  return exitCodes.done
}

function reachText({ lsn, slot, why }: SourceReach): string {
  if (lsn === null) return why ?? 'nothing'
  return slot === null ? `back to ${lsn}` : `back to ${lsn} (slot ${slot})`
}

async function markCommand(context: CliContext, name: string, flags: ConfigFlags, json: boolean): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { markCheckpoint } = await import('../setup/stored-checkpoints.ts')
  const entry = await markCheckpoint(await optionsOf(loaded), name)
  const { slot, storedAt, events } = entry
  const lsn = formatLsn(entry.lsn)
  if (json) printJson(context, { name, slot, lsn, storedAt, events: Number(events) })
  else printNote(context, `${lsn} of slot ${slot} is kept as ${name}`)
  return exitCodes.done
}

async function unmarkCommand(context: CliContext, name: string, flags: ConfigFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { unmarkCheckpoint } = await import('../setup/stored-checkpoints.ts')
  await unmarkCheckpoint(await optionsOf(loaded), name)
  printNote(context, `mark ${name} of slot ${loaded.config.source.slot} is removed`)
  return exitCodes.done
}

async function optionsOf(loaded: LoadedConfig): Promise<CheckpointsOptions> {
  const { slot, table, columns, connectTimeout } = loaded.config.source
  return {
    url: await loaded.sourceUrl(),
    connectTimeout,
    slot,
    table: parseTableName(table),
    columns: resolveColumns(columns),
  }
}

function parseLimit(text: string): number {
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > 100_000) {
    throw new InvalidArgumentError('expected a whole number from 1 to 100000')
  }
  return limit
}
