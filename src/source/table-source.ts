import type { ClientConfig } from 'pg'
import { assert } from '../base/assert.ts'
import { type BridgeError, toBridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import { type CommitTime, parseCommitTime } from './commit-time.ts'
import { CopyStream } from './copy-stream.ts'
import { decodeCopyRow } from './copy-text.ts'
import type {
  Source,
  SourceCounters,
  SourceEvent,
  SourceHandlers,
  SourceRelation,
  SourceRow,
  SourceTransaction,
  SourceTuple,
  StartPosition,
} from './source.ts'
import { type ReadableTable, TableOrder } from './table-order.ts'
import { copyTableSql, type TableRange } from './table-query.ts'

export interface TableSourceOptions {
  /** As read from a url. Its `options`, `application_name`, `stream` and timeouts are set here. */
  readonly connection: ClientConfig
  readonly table: ReadableTable
  readonly range: TableRange
  /** Stands in for the position of every row: the table does not have it. The commit mark ends one byte above. */
  readonly position: { readonly commitLsn: Lsn; readonly commitLsnText: string }
  /** An exported snapshot to read in, which may end once start() has resolved; a new one when absent. */
  readonly snapshotId?: string | undefined
  /** Number of the first row, default 0. */
  readonly firstOrdinal?: number
  /** How long to wait for a lock on the table, milliseconds, and what it ends with; without it for as long as it takes. */
  readonly lockTimeout?: { readonly after: number; readonly error: () => BridgeError }
  /** Goes on counting in these. */
  readonly counters?: SourceCounters
}

/**
 * The rows that the outbox table still has, as one long transaction: the same tuples as from the stream, in the order of
 * TableOrder, numbered on, and one commit mark when all have come. Then it waits for stop().
 *
 * They come by COPY, so that memory is bounded by a socket chunk and the largest row; the server sorts, in temporary files
 * where work_mem does not hold them. While it runs, vacuum removes nothing that its snapshot may see.
 *
 * `committedAt` of a row is its created_at; without one that is a time (NULL, infinity), when the reading began.
 */
export class TableSource implements Source {
  readonly counters: SourceCounters
  /** No walsender takes part. */
  readonly walSenderTimeout = 0
  readonly #options: TableSourceOptions
  readonly #order: TableOrder
  readonly #relation: SourceRelation
  readonly #createdAt: number
  /** A timestamp without time zone is taken as UTC, which is what the session is set to. */
  readonly #zone: '' | '+00'
  readonly #stream: CopyStream
  #handlers: SourceHandlers | undefined
  #began: CommitTime | undefined
  #lastCreatedAt: string | null = null
  #transaction: SourceTransaction | undefined
  #events: SourceEvent[] = []
  #ordinal: number
  #rows = 0
  #isOpen = false
  #isScheduled = false
  #isStopped = false

  /** Throws a BridgeError COLUMN_TYPE for a table whose created_at or transaction_id cannot be sorted by. */
  constructor(options: TableSourceOptions) {
    const { connection, table, firstOrdinal = 0, lockTimeout } = options
    this.#options = options
    this.#order = new TableOrder(table)
    this.#relation = {
      schema: table.table.schema,
      table: table.table.name,
      columns: table.columns.map(({ name, type }) => ({ name, type })),
    }
    this.#createdAt = table.columns.findIndex(({ name }) => name === table.createdAt)
    this.#zone = table.columns[this.#createdAt]?.type === 'timestamp' ? '+00' : ''
    this.#ordinal = firstOrdinal
    this.counters = options.counters ?? { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
    this.#stream = new CopyStream(
      connection,
      {
        onRow: (chunk) => this.#onRow(chunk),
        onDone: (rows) => this.#onDone(rows),
        onEnd: (error) => {
          this.#flush()
          this.#handlers!.onEnd(lockTimeout !== undefined && isLockTimeout(error) ? lockTimeout.error() : error)
        },
      },
      lockTimeout?.after,
    )
  }

  /** Where a row of this source stands: `after` of a range that is to go on there. */
  orderKeyOf(row: SourceRow): string {
    return this.#order.keyOf(row.tuple)
  }

  /**
   * Resolves when the transaction stands and the rows are asked for; that the server refuses (a column is dropped, SELECT
   * is not granted) comes through onEnd. The position means nothing here: the range says where to begin. Rejects with a
   * BridgeError, REPLAY_OUT_OF_REACH when the table lacks a column that the range needs.
   */
  async start(_position: StartPosition, handlers: SourceHandlers): Promise<void> {
    assert(this.#handlers === undefined, 'a source is started only once')
    this.#handlers = handlers
    const { table, range, snapshotId, connection } = this.#options
    const sql = copyTableSql(table, range)
    const clock = await this.#stream.start(sql, snapshotId, connection.connectionTimeoutMillis ?? 0)
    this.#began = parseCommitTime(clock)
    assert(this.#began !== undefined, () => `the server's clock says ${JSON.stringify(clock)}`)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#isOpen = true
    this.#stream.resume()
  }

  acknowledge(): void {
    // There is no slot.
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#stream.close()
  }

  #onRow(chunk: Buffer): void {
    const tuple = decodeCopyRow(chunk, this.#relation.columns.length)
    this.counters.bytes += chunk.length
    this.counters.rows++
    this.#rows++
    const ordinal = this.#ordinal++
    this.#push({ kind: 'row', transaction: this.#transactionOf(tuple), ordinal, relation: this.#relation, tuple })
  }

  #onDone(rows: number): void {
    assert(rows === this.#rows, () => `the server sent ${rows} rows, ${this.#rows} came in`)
    const { commitLsn } = this.#options.position
    this.counters.transactions++
    this.#push({ kind: 'commit', commitLsn, endLsn: commitLsn + 1n })
  }

  #transactionOf(tuple: SourceTuple): SourceTransaction {
    const createdAt = this.#createdAt === -1 ? null : tuple.text(this.#createdAt)
    if (this.#transaction !== undefined && createdAt === this.#lastCreatedAt) return this.#transaction
    const time = createdAt === null ? undefined : parseCommitTime(`${createdAt}${this.#zone}`)
    const { text, seconds } = time ?? this.#began!
    this.#lastCreatedAt = createdAt
    this.#transaction = { ...this.#options.position, committedAt: text, committedAtSeconds: seconds }
    return this.#transaction
  }

  /** Hands on in one piece what one socket chunk held: a chunk is parsed in one go, before any microtask. */
  #push(event: SourceEvent): void {
    this.#events.push(event)
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (!this.#isOpen || this.#isStopped || this.#events.length === 0) return
    const events = this.#events
    this.#events = []
    try {
      this.#handlers!.onEvents(events)
    } catch (error) {
      this.#stream.fail(toBridgeError(error))
      this.#isStopped = true
    }
  }
}

function isLockTimeout(error: BridgeError | undefined): boolean {
  return (error?.cause as { readonly code?: unknown } | undefined)?.code === '55P03'
}
