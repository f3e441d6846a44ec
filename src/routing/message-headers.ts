import { BridgeError } from '../base/errors.ts'
import type { SourceRow } from '../source/source.ts'
import { headerTable_bytes_max, headerTableSize } from './header-size.ts'
import { type HeaderTable, headersText_bytes_max, readHeaders } from './headers.ts'
import type { RowReader } from './outbox-row.ts'
import type { Destination } from './router.ts'
import { optionalText } from './row-fields.ts'

/** More than the bridge's own headers take without the aggregate's two values, a replay id of 255 characters included. */
const bridgeHeaders_bytes = 1024

/** One UTF-16 unit of JSON takes at most this when encoded: three bytes of UTF-8; `0.1,` in an array takes nine. */
const encodedUnit_bytes_max = 3

/** What distinguishes the messages of a replay. */
export interface ReplayHeaders {
  readonly replayId: string | undefined
  /** False: the positions of the rows are not known, and nothing is said of them. */
  readonly hasPositions: boolean
}

/** The row's own headers, null when it has none. Throws a BridgeError `EVENT_INVALID`. */
export function ownHeaders(row: SourceRow, reader: RowReader): HeaderTable | null {
  const text = optionalText(row.tuple, reader, 'headers', headersText_bytes_max)
  return text === null ? null : readHeaders(text)
}

/**
 * All headers of a message: the route's are defaults, the row's win over them, the bridge's over both. Takes `own` over.
 * Throws a BridgeError `EVENT_INVALID` when they do not fit one AMQP table.
 */
export function messageHeaders(
  own: HeaderTable | null,
  row: SourceRow,
  reader: RowReader,
  destination: Destination,
  aggregateType: string,
  aggregateId: string,
  replay: ReplayHeaders,
): HeaderTable {
  const { commitLsnText, committedAt } = row.transaction
  const { replayId, hasPositions } = replay
  const fresh = own === null && hasPositions
  const headers: HeaderTable = fresh
    ? {
        aggregate_type: aggregateType,
        aggregate_id: aggregateId,
        'wal-lsn': commitLsnText,
        'wal-ordinal': row.ordinal,
        'wal-committed-at': committedAt,
      }
    : (own ?? {})
  if (destination.headers !== null) addDefaults(headers, destination.headers)
  if (!fresh) {
    headers.aggregate_type = aggregateType
    headers.aggregate_id = aggregateId
  }
  if (!fresh && hasPositions) {
    headers['wal-lsn'] = commitLsnText
    headers['wal-ordinal'] = row.ordinal
    headers['wal-committed-at'] = committedAt
  }
  if (replayId !== undefined) headers['wal-replay'] = replayId

  // Most tables are so small that they need not be counted.
  const ownUnits = own === null ? 0 : row.tuple.byteLength(reader.index.headers)
  const units = ownUnits + aggregateType.length + aggregateId.length
  if (bridgeHeaders_bytes + destination.headersSize + units * encodedUnit_bytes_max > headerTable_bytes_max) {
    checkSize(headers)
  }
  return headers
}

function addDefaults(headers: HeaderTable, defaults: HeaderTable): void {
  for (const name of Object.keys(defaults)) {
    if (!Object.hasOwn(headers, name)) headers[name] = defaults[name]!
  }
}

function checkSize(headers: HeaderTable): void {
  const size = headerTableSize(headers)
  if (size <= headerTable_bytes_max) return
  throw new BridgeError(
    'EVENT_INVALID',
    `the headers take ${size} bytes as an AMQP table; at most ${headerTable_bytes_max} can be sent`,
  )
}
