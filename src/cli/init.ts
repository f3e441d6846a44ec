import type { Command } from 'commander'
import { BridgeError } from '../base/errors.ts'
import type { LoadedConfig } from '../config/load.ts'
import { brokerOptions } from './broker-options.ts'
import { type CliContext, colour, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'

interface InitFlags extends ConfigFlags {
  readonly dryRun?: boolean
  readonly acceptGap?: boolean
  readonly backfill?: boolean
  readonly json?: boolean
}

export function addInitCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('init')
    .description('create or upgrade the SQL objects, publication, slot and exchange')
    .option('--dry-run', 'print the SQL and change nothing')
    .option('--accept-gap', 'make a lost slot anew although events between the stored LSN and now are not in it')
    .option('--backfill', 'publish the rows that the table holds already, then begin the stream behind them')
    .option('--json', 'print each object and what became of it as a JSON array')
    .addHelpText(
      'after',
      `
Safe to repeat: what is there and right is kept. From the moment the slot exists, PostgreSQL keeps WAL for it: start
"wal2rabbit run" soon after.

Exit codes: 0 done, 1 failed or stopped, 2 usage or configuration, 3 an operator must act: a
server refuses, or events could be lost (see --accept-gap).`,
    )
  addConfigOptions(command).action(async (flags: InitFlags) => finish(await init(context, flags)))
}

async function init(context: CliContext, flags: InitFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const dryRun = flags.dryRun === true
  const backfill = flags.backfill === true ? await makePublisher(context, loaded, flags) : undefined
  const { runInit } = await import('../setup/init.ts')
  const { slot, publication, plugin, table, columns, connectTimeout } = loaded.config.source
  const steps = await runInit({
    url: await loaded.sourceUrl(),
    connectTimeout,
    slot,
    publication,
    plugin,
    table,
    columns,
    broker: await brokerOptions(loaded),
    dryRun,
    acceptGap: flags.acceptGap === true,
    backfill,
    onStep: ({ outcome, name, detail }) => {
      const word = dryRun ? `would be ${outcome}` : outcome
      const shown = outcome === 'kept' ? word : colour(context, context.stderr, 'green', word)
      printNote(context, `${shown}  ${name}${detail === undefined ? '' : `: ${detail}`}`)
    },
    onNotice: (text) => printNote(context, text),
  })
  if (flags.json === true) printJson(context, steps)
  else if (dryRun) for (const { name, sql } of steps) if (sql !== '') printData(context, `-- ${name}\n${sql.trim()}\n`)
  return steps.some(({ outcome }) => outcome === 'stopped') ? exitCodes.failed : exitCodes.done
}

async function makePublisher(context: CliContext, loaded: LoadedConfig, flags: InitFlags) {
  if (flags.acceptGap === true) {
    throw new BridgeError('USAGE', '--backfill was given together with --accept-gap, expected one or the other')
  }
  context.tune({ smallHeap: true, givesWay: false })
  const { backfillPublisher } = await import('./init-backfill.ts')
  return backfillPublisher(context, loaded)
}
