import { type Command, InvalidArgumentError } from 'commander'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { formatTable } from './table.ts'

interface CheckpointsFlags extends ConfigFlags {
  readonly json?: boolean
  readonly limit: number
}

export function addCheckpointsCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('checkpoints')
    .description('the stored LSNs and when each was stored, newest first')
    .option('--limit <count>', 'how many to list', parseLimit, 20)
    .option('--json', 'print a JSON array')
    .addHelpText('after', '\nReads PostgreSQL; works with and without a running bridge.')
  addConfigOptions(command).action(async (flags: CheckpointsFlags) => finish(await checkpoints(context, flags)))
}

async function checkpoints(context: CliContext, flags: CheckpointsFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { slot, connectTimeout } = loaded.config.source
  const { listCheckpoints } = await import('../setup/stored-status.ts')
  const entries = await listCheckpoints({ url: await loaded.sourceUrl(), connectTimeout, slot, limit: flags.limit })
  if (flags.json === true) printJson(context, entries)
  else if (entries.length > 0) printData(context, formatTable(entries))
  else printNote(context, `no checkpoint of slot ${slot} is stored yet`)
  return exitCodes.done
}

function parseLimit(text: string): number {
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > 100_000) {
    throw new InvalidArgumentError('expected a whole number from 1 to 100000')
  }
  return limit
}
