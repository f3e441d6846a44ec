import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, noLsn } from '../base/lsn.ts'
import type { ReplaySource } from '../replay/replay-record.ts'

/** What the table can give for a start. */
export interface TableReach {
  /** Why the table cannot be read at all; undefined when it can. */
  readonly impossible: string | undefined
  /** How rows are told to be above the start: by their transaction and a snapshot, or only by `created_at`. */
  readonly by: 'transaction' | 'time'
  /** Whether it reaches back to the start. */
  readonly reaches: boolean
  /** How far back it reaches; undefined when nothing is stored. */
  readonly floor: Lsn | undefined
}

export interface SourceQuestion {
  readonly asked: ReplaySource | 'auto'
  /** As it was asked for, and where that is. */
  readonly start: string
  readonly from: Lsn
  readonly walReaches: boolean
  readonly walFloor: Lsn | undefined
  /** Since when the WAL is kept, ISO 8601; undefined where that is not known. */
  readonly walSince: string | undefined
  readonly table: TableReach
}

/** The source that serves the start: the WAL where it can, as it knows the order. A BridgeError where none does. Pure. */
export function chooseSource(question: SourceQuestion): ReplaySource | BridgeError {
  const { asked, walReaches, table } = question
  if (asked !== 'table' && walReaches) return 'wal'
  if (asked !== 'wal' && table.impossible === undefined && table.reaches) return 'table'
  return outOfReach(question)
}

function outOfReach({ asked, start, from, walFloor, walSince, table }: SourceQuestion): BridgeError {
  const since = walSince === undefined ? '' : ` (slot of ${walSince})`
  const wal =
    walFloor === undefined ? 'no slot keeps any WAL' : `the WAL reaches back to ${formatLsn(walFloor)}${since}`
  const rows =
    table.impossible ??
    (table.floor === undefined ? 'no snapshot is stored' : `the table reaches back to ${formatLsn(table.floor)}`)
  const asks = asked === 'auto' ? 'nothing reaches' : `--source ${asked} does not reach`
  const place = from === noLsn || start === formatLsn(from) ? start : `${start} (${formatLsn(from)})`
  return new BridgeError('REPLAY_OUT_OF_REACH', `${asks} back to ${place}: ${wal}, ${rows}`)
}
