import type { Command } from 'commander'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { parseLimit } from './limit.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { addReplayOptions, type ReplayFlags } from './replay-options.ts'
import { describeReplay } from './replay-report.ts'
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
  const replays = records.map(describeReplay) as Record<string, unknown>[]
  if (flags.json === true) printJson(context, replays)
  else if (replays.length === 0) printNote(context, `no replay of slot ${slot} is recorded yet`)
  else printData(context, formatTable(replays.map(lineOf)))
  return exitCodes.done
}

function lineOf(replay: Record<string, unknown>): object {
  const request = replay.request as Record<string, unknown>
  const { id, kind, state, source, startedBy, startedAt, fromLsn, toLsn, eventsPublished, deadLettered } = replay
  const where = (request.where as string[]).join(' ') || null
  const to = request.queue ?? request.exchange
  return { id, kind, state, source, startedBy, startedAt, fromLsn, toLsn, where, to, eventsPublished, deadLettered }
}
