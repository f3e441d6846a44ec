import { type Command, InvalidArgumentError } from 'commander'
import { BridgeError } from '../base/errors.ts'
import { parseIsoTime } from '../base/iso-time.ts'
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

function parseTime(text: string): string {
  const time = parseIsoTime(text)
  if (time !== undefined) return time
  throw new InvalidArgumentError('expected an ISO 8601 time such as 2026-01-31 or 2026-01-31T23:59:59Z')
}
