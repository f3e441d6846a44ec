import { BridgeError } from '../base/errors.ts'
import type { MessageProperties, Refusal } from '../sink/sink.ts'
import type { SourceRelation, SourceRow } from '../source/source.ts'
import type { ColumnMap } from './column-map.ts'
import { EventTimeReader } from './event-time.ts'
import { headerTable_bytes_max } from './header-size.ts'
import type { HeaderTable } from './headers.ts'
import { messageHeaders, ownHeaders, type ReplayHeaders } from './message-headers.ts'
import { compileReader, type RowReader } from './outbox-row.ts'
import { Router, type RouterOptions, routingKeyOf } from './router.ts'
import type { RefusedRow, RoutedEvent, RoutedMessage, Routing } from './routing.ts'
import { bodyOf, expirationOf, keptText, optionalText, priorityOf, requiredText } from './row-fields.ts'
import { checkShortString, shortStringSize_max } from './short-string.ts'

export interface RoutingOptions extends RouterOptions {
  readonly columns: ColumnMap
  /** Largest body in bytes. */
  readonly maxMessageSize: number
  /** Set only on a replay: the header `wal-replay` of each of its messages. */
  readonly replayId?: string | undefined
  /**
   * `unknown`: the rows come from the table, which does not know where in the WAL they were. Then `wal-lsn`, `wal-ordinal`
   * and `wal-committed-at` are left out. Default `known`.
   */
  readonly positions?: 'known' | 'unknown'
}

/** Throws a BridgeError `CONFIG_INVALID` for a template, an exchange or a header of a route that cannot be sent. */
export function createRouting(options: RoutingOptions): Routing {
  return new OutboxRouting(options)
}

class OutboxRouting implements Routing {
  readonly #options: RoutingOptions
  readonly #router: Router
  readonly #replay: ReplayHeaders
  readonly #eventTime = new EventTimeReader()
  // By identity: the stream describes the table with a new object after each change of it.
  readonly #readers = new WeakMap<SourceRelation, RowReader>()
  #relation: SourceRelation | undefined
  #reader: RowReader | undefined

  constructor(options: RoutingOptions) {
    if (options.replayId !== undefined) checkShortString('the replay id', options.replayId)
    this.#options = options
    this.#replay = { replayId: options.replayId, hasPositions: options.positions !== 'unknown' }
    this.#router = new Router(options)
  }

  route(row: SourceRow): RoutedEvent {
    const reader = this.#readerOf(row)
    try {
      return this.#routed(row, reader)
    } catch (error) {
      if (!(error instanceof BridgeError) || error.action !== 'dead-letter') throw error
      return this.#refused(row, reader, { code: error.code, text: error.message })
    }
  }

  #readerOf({ relation, transaction }: SourceRow): RowReader {
    if (relation === this.#relation && this.#reader !== undefined) return this.#reader
    const reader =
      this.#readers.get(relation) ?? compileReader(relation, this.#options.columns, transaction.commitLsnText)
    this.#readers.set(relation, reader)
    this.#relation = relation
    this.#reader = reader
    return reader
  }

  #routed(row: SourceRow, reader: RowReader): RoutedMessage {
    const { tuple, transaction } = row
    const { maxMessageSize } = this.#options
    const id = requiredText(tuple, reader, 'id', shortStringSize_max)
    const aggregateType = requiredText(tuple, reader, 'aggregate_type', headerTable_bytes_max)
    const aggregateId = requiredText(tuple, reader, 'aggregate_id', headerTable_bytes_max)
    const type = requiredText(tuple, reader, 'type', shortStringSize_max)
    const to = this.#router.decide(aggregateType, type)
    const routingKey =
      optionalText(tuple, reader, 'routing_key') ?? routingKeyOf(to, id, aggregateType, aggregateId, type)
    checkShortString('routing key', routingKey)
    const own = ownHeaders(row, reader)
    const correlationId = optionalText(tuple, reader, 'correlation_id') || own?.correlation_id
    const properties: MessageProperties = {
      messageId: id,
      type,
      contentType: optionalText(tuple, reader, 'content_type') || reader.payload.contentType,
      timestamp: this.#timestamp(row, reader),
      appId: 'wal2rabbit',
      persistent: true,
      mandatory: true,
      headers: messageHeaders(own, row, reader, to, aggregateType, aggregateId, this.#replay),
    }
    addOptional(properties, row, reader, correlationId)
    return {
      commitLsn: transaction.commitLsn,
      ordinal: row.ordinal,
      committedAtSeconds: transaction.committedAtSeconds,
      unroutable: to.unroutable,
      message: {
        exchange: optionalText(tuple, reader, 'exchange') ?? to.exchange,
        routingKey,
        body: bodyOf(tuple, reader, maxMessageSize),
        properties,
      },
      refusal: undefined,
      refused: undefined,
      origin: row,
      eventId: id,
      aggregateType,
      aggregateId,
      type,
    }
  }

  #timestamp(row: SourceRow, reader: RowReader): number {
    const createdAt = optionalText(row.tuple, reader, 'created_at')
    const seconds = createdAt === null ? null : this.#eventTime.seconds(createdAt)
    return seconds ?? row.transaction.committedAtSeconds
  }

  #refused(row: SourceRow, reader: RowReader, refusal: Refusal): RefusedRow {
    const { tuple, transaction } = row
    const id = keptText(tuple, reader, 'id')
    const aggregateType = keptText(tuple, reader, 'aggregate_type')
    const aggregateId = keptText(tuple, reader, 'aggregate_id')
    const type = keptText(tuple, reader, 'type')
    const to = aggregateType && type ? this.#router.decide(aggregateType, type) : null
    const key = to && id && aggregateId ? routingKeyOf(to, id, aggregateType!, aggregateId, type!) : null
    return {
      commitLsn: transaction.commitLsn,
      ordinal: row.ordinal,
      committedAtSeconds: transaction.committedAtSeconds,
      unroutable: to?.unroutable ?? this.#options.unroutable,
      message: undefined,
      refusal,
      origin: row,
      eventId: id,
      aggregateType,
      aggregateId,
      type,
      refused: {
        exchange: keptText(tuple, reader, 'exchange') ?? to?.exchange ?? null,
        routingKey: keptText(tuple, reader, 'routing_key') ?? key,
        contentType: keptText(tuple, reader, 'content_type') || reader.payload.contentType,
        body: bodyOf(tuple, reader, Number.POSITIVE_INFINITY),
        headersText: keptText(tuple, reader, 'headers'),
      },
    }
  }
}

// Set only when there is something to say: exactly these fields go onto the wire.
function addOptional(
  properties: MessageProperties,
  row: SourceRow,
  reader: RowReader,
  correlationId: HeaderTable[string] | undefined,
): void {
  if (typeof correlationId === 'string') {
    checkShortString('correlation_id', correlationId)
    properties.correlationId = correlationId
  }
  const expiration = expirationOf(row.tuple, reader)
  if (expiration !== null) properties.expiration = expiration
  const priority = priorityOf(row.tuple, reader)
  if (priority !== null) properties.priority = priority
}
