import { type Command, InvalidArgumentError, Option } from 'commander'
import { BridgeError } from '../base/errors.ts'
import { type FilterTerm, parseFilterTerm } from '../replay/event-filter.ts'
import { parseRate } from '../replay/rate-limit.ts'
import type { ReplayRequest, ReplaySource } from '../replay/replay-record.ts'
import { addConfigOptions, type ConfigFlags } from './options.ts'

export interface ReplayFlags extends ConfigFlags {
  readonly from?: string
  readonly to?: string
  readonly where?: readonly FilterTerm[]
  readonly exchange?: string
  readonly routingKey?: string
  readonly queue?: string
  readonly rate?: number
  readonly source: ReplaySource | 'auto'
  readonly resume?: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function addReplayOptions(command: Command): Command {
  const terms: FilterTerm[] = []
  command
    .option('--from <P>', 'where to begin: an LSN, an ISO 8601 time, event:<id>, or the name of a mark')
    .option(
      '--to <P>',
      'where to end (default: the live stored LSN); an event belongs to the range, an LSN or time does not',
    )
    .addOption(
      new Option(
        '--where <key=pattern>',
        'only type, aggregate_type, aggregate_id or id; * and ?; may be given again',
      ).argParser((text) => {
        terms.push(parseFilterTerm(text))
        return terms
      }),
    )
    .option('--exchange <name>', 'publish to this exchange in place of where events go')
    .option('--routing-key <key>', 'publish with this routing key')
    .option('--queue <name>', 'publish to this queue alone, by the default exchange')
    .option('--rate <N/s>', 'at most so many events a second (30/m: a minute)', readRate)
    .addOption(
      new Option('--source <source>', 'wal, table, or auto: the WAL where it reaches back to --from, else the table')
        .choices(['auto', 'wal', 'table'])
        .default('auto'),
    )
    .option('--resume <id>', 'go on with a replay that was stopped, failed or killed')
    .option('--dry-run', 'read and count what would be published; publish nothing')
    .option('--json', 'print one JSON document')
  return addConfigOptions(command)
}

/** What is asked for. Throws a BridgeError `USAGE` for flags that contradict each other. */
export function requestOf(flags: ReplayFlags): ReplayRequest {
  const { from, to, where = [], exchange, routingKey, queue, rate } = flags
  if (from === undefined) throw new BridgeError('USAGE', 'expected --from P, or --resume <id>')
  if (queue !== undefined && (exchange !== undefined || routingKey !== undefined)) {
    throw new BridgeError(
      'USAGE',
      '--queue was given together with --exchange or --routing-key, expected one or the other',
    )
  }
  return { from, to, where, exchange, routingKey, queue, rate }
}

/** A replay that goes on keeps its range, filter and destination. Throws a BridgeError `USAGE`. */
export function refuseWithResume(flags: ReplayFlags): void {
  const { from, to, where, exchange, routingKey, queue, rate, dryRun } = flags
  const given = Object.entries({ from, to, where, exchange, 'routing-key': routingKey, queue, rate, 'dry-run': dryRun })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => `--${name}`)
  if (given.length === 0 && flags.source === 'auto') return
  const names = [...given, ...(flags.source === 'auto' ? [] : ['--source'])].join(', ')
  throw new BridgeError(
    'USAGE',
    `--resume was given together with ${names}: a replay that goes on keeps what it was begun with`,
  )
}

function readRate(text: string): number {
  const rate = parseRate(text)
  if (rate === undefined) throw new InvalidArgumentError('expected events a second, such as 500, 500/s or 30/m')
  return rate
}
