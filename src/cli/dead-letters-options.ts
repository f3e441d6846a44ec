import { type Command, InvalidArgumentError } from 'commander'
import { BridgeError } from '../base/errors.ts'
import { type Selection, selectsAll } from '../dead-letter/selection.ts'
import { addConfigOptions, type ConfigFlags } from './options.ts'

export interface SelectionFlags extends ConfigFlags {
  readonly type?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  readonly aggregate?: string
  readonly reason?: string
  readonly since?: string
  readonly until?: string
  readonly replay?: string
  readonly all?: boolean
  readonly json?: boolean
}

/** Day, time of day, zone; offsets up to the ±15:59 that PostgreSQL knows. */
const timePattern = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+-](?:0\d|1[0-5]):?[0-5]\d)?)?$/

/** Adds the filters of list, retry and discard, and the flags that every command has. */
export function addSelectionOptions(command: Command): Command {
  command
    .option('--type <glob>', 'event type; * stands for any run of characters, ? for one')
    .option('--aggregate-type <glob>', 'aggregate type')
    .option('--aggregate-id <glob>', 'aggregate id')
    .option('--aggregate <type/id>', 'one aggregate, order/4711; or a whole type, order')
    .option('--reason <code>', 'EVENT_UNROUTABLE, EVENT_NACKED, EVENT_REFUSED, EVENT_TOO_LARGE, …', parseReason)
    .option('--since <time>', 'first failed at this time or later; ISO 8601, UTC unless it says otherwise', parseTime)
    .option('--until <time>', 'first failed before this time', parseTime)
    .option('--replay <id>', 'met by this replay')
    .option('--json', 'print one JSON document')
  return addConfigOptions(command)
}

/** The selection that ids and flags make. */
export function selectionOf(eventIds: readonly string[], flags: SelectionFlags): Selection {
  const { type, aggregateType, aggregateId, aggregate, reason, since, until, replay } = flags
  return {
    ...(eventIds.length > 0 && { eventIds }),
    ...(type !== undefined && { type }),
    ...(aggregateType !== undefined && { aggregateType }),
    ...(aggregateId !== undefined && { aggregateId }),
    ...(aggregate !== undefined && { aggregate }),
    ...(reason !== undefined && { reason }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    ...(replay !== undefined && { replayId: replay }),
  }
}

/** For a command that changes something: throws a BridgeError `USAGE` when nothing says what is meant. */
export function requireSelection(eventIds: readonly string[], flags: SelectionFlags): Selection {
  const selection = selectionOf(eventIds, flags)
  const all = flags.all === true
  if (all && !selectsAll(selection))
    throw new BridgeError('USAGE', '--all was given together with a narrower selection')
  if (!all && selectsAll(selection)) throw new BridgeError('USAGE', 'expected event ids, filters or --all')
  return selection
}

function parseReason(text: string): string {
  const code = text.toUpperCase()
  if (!/^EVENT_[A-Z_]+$/.test(code)) throw new InvalidArgumentError('expected a code such as EVENT_UNROUTABLE')
  return code
}

/** Only what PostgreSQL takes as well: of 2026-02-31 `Date` makes a day in March, and there is no year 0000. */
function parseTime(text: string): string {
  const [, day = '', time = '00:00', zone = 'Z'] = timePattern.exec(text) ?? []
  const read = new Date(`${day}T${time}Z`)
  const isReal = !Number.isNaN(read.getTime()) && read.toISOString().startsWith(`${day}T${time.slice(0, 5)}`)
  if (!isReal || day.startsWith('0000')) {
    throw new InvalidArgumentError('expected an ISO 8601 time such as 2026-01-31 or 2026-01-31T23:59:59Z')
  }
  return `${day}T${time}${zone}`
}
