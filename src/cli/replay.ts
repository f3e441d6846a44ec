import type { Command } from 'commander'
import { formatLsn } from '../base/lsn.ts'
import type { ReplayRecord } from '../replay/replay-record.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { parseLimit } from './limit.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { addReplayOptions, type ReplayFlags } from './replay-options.ts'
import { describeReplay, stateOf } from './replay-report.ts'
import { formatTable } from './table.ts'

/** Each command loads its work when it runs: the others start without it. */
export function addReplayCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  addReplayOptions(
    program
      .command('replay')
      .description('publish a past range again, beside the live stream')
      .addHelpText(
        'after',
        `
The same events with the same bodies, ids and positions as the first time, and the header wal-replay with the id of the
replay. The live stream goes on as it is. Ends at the live stored LSN of the moment it began. SIGINT stops it and says
how to go on; "wal2rabbit replays" lists what was replayed.

Exit codes: 0 all published, 1 stopped, failed, or some kept as dead letters, 2 usage or configuration (also a position
that does not exist), 3 an operator must act (nothing reaches back that far, a server refuses).`,
      ),
  ).action(async (flags: ReplayFlags) => {
    const { replayCommand } = await import('./replay-run.ts')
    finish(await replayCommand(context, flags))
  })

  addConfigOptions(
    program
      .command('replays')
      .description('replays and backfills: who, when, range, filter, counts, state; newest first')
      .option('--limit <count>', 'how many to list', parseLimit, 20)
      .option('--json', 'print a JSON array'),
  ).action(async (flags: ListFlags) => finish(await listCommand(context, flags)))
}

interface ListFlags extends ConfigFlags {
  readonly limit: number
  readonly json?: boolean
}

async function listCommand(context: CliContext, flags: ListFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { slot, connectTimeout } = loaded.config.source
  const { withControl } = await import('../setup/connect.ts')
  const { requireSchema } = await import('../setup/migrate.ts')
  const { listReplays } = await import('../replay/replay-record.ts')
  const options = { url: await loaded.sourceUrl(), applicationName: 'wal2rabbit replays', statementTimeout: 10_000 }
  const records = await withControl({ ...options, connectTimeout }, 'reading the replays', async (client) => {
    await requireSchema(client)
    return listReplays(client, slot, flags.limit)
  })
  if (flags.json === true) printJson(context, records.map(describeReplay))
  else if (records.length === 0) printNote(context, `no replay of slot ${slot} is recorded yet`)
  else printData(context, formatTable(records.map(lineOf)))
  return exitCodes.done
}

/** From and to as they were asked for; an end that was not is the LSN that it came to. */
function lineOf({ request, plan, ...record }: ReplayRecord): object {
  const { from, to, where, queue, exchange, routingKey } = request
  const sentTo = queue === undefined ? [exchange, routingKey].filter((name) => name !== undefined) : [`queue ${queue}`]
  return {
    id: record.id,
    kind: record.kind,
    state: stateOf(record),
    source: plan.source,
    from: from || formatLsn(plan.range.from.lsn),
    to: to ?? formatLsn(plan.range.to.lsn),
    where: where.map(({ key, pattern }) => `${key}=${pattern}`).join(' ') || null,
    sentTo: sentTo.join(' ') || null,
    published: record.progress.published,
    dead: record.progress.dead,
    startedAt: record.startedAt,
    startedBy: record.startedBy,
  }
}
