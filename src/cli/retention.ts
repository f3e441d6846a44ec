import type { Command } from 'commander'
import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import { formatDuration } from '../config/units.ts'
import type { PassReport } from '../retention/retention.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { formatFacts } from './table.ts'

interface RetentionFlags extends ConfigFlags {
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function addRetentionCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('retention')
    .description('delete rows of the outbox table that outbox.retention lets go, once and now')
    .option('--dry-run', 'change nothing: count the rows, and name the partitions that would go')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
A running bridge does the same from time to time. Only what is settled for every slot of the database goes. Works with
and without a running bridge; may be stopped at any time.

Exit codes: 0 done, or nothing may go yet; 1 not all of it, or not possible; 2 usage or configuration.`,
    )
  addConfigOptions(command).action(async (flags: RetentionFlags) => finish(await retention(context, flags)))
}

async function retention(context: CliContext, flags: RetentionFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { source, outbox } = loaded.config
  if (outbox.retention === 0) {
    throw new BridgeError('USAGE', 'outbox.retention is 0 (off), expected an age: --set outbox.retention=30d')
  }
  const dryRun = flags.dryRun === true
  const { passOverOutbox, readReach, retentionRule } = await import('../setup/outbox-retention.ts')
  const rule = retentionRule(loaded.config)
  const connection = { url: await loaded.sourceUrl(), connectTimeout: source.connectTimeout }
  const report = await passOverOutbox(connection, rule, { dryRun, signal: new AbortController().signal })
  const tableReachesBackTo = await readReach(connection, loaded.config.source, report.floor)
  const { outcome, reason, rows, partitions, notices } = report
  const facts = { outcome, reason, dryRun, rows, partitions, tableReachesBackTo }
  if (flags.json === true) printJson(context, facts)
  else printData(context, formatFacts(facts))
  for (const notice of notices) printNote(context, notice)
  printNote(context, sentenceOf(report, dryRun, formatDuration(outbox.retention)))
  return outcome === 'done' || outcome === 'waiting' ? exitCodes.done : exitCodes.failed
}

function sentenceOf({ outcome, reason, rows, partitions, floor }: PassReport, dryRun: boolean, age: string): string {
  const what = `${rows} rows and ${partitions.length} ${partitions.length === 1 ? 'partition' : 'partitions'} older than ${age}`
  const went = dryRun ? `${what} would go` : `${what} are gone`
  const below = floor === null ? '' : `; all of it had committed below ${formatLsn(floor)}`
  return `${went}${below}${outcome === 'done' ? '' : ` (${outcome}: ${reason})`}`
}
