import type { ClientConfig } from 'pg'
import { assert } from '../base/assert.ts'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import type { TableName } from '../base/sql.ts'
import { Acknowledgement } from './acknowledgement.ts'
import { EventAssembler } from './event-assembler.ts'
import type { WalsenderFacts } from './output-plugin.ts'
import { PgoutputDecoder } from './pgoutput.ts'
import { ReplicationStream } from './replication-stream.ts'
import type { Source, SourceCounters, SourceHandlers, StartPosition } from './source.ts'
import { StatusTimer } from './status-timer.ts'
import { Wal2jsonDecoder } from './wal2json.ts'
import { Watchdog } from './watchdog.ts'

/** Longest time between two status updates, and longest silence that is not looked into; milliseconds. */
const statusIntervalMax = 10_000
const silenceMax = 60_000

export interface PostgresSourceOptions {
  /** As read from a url. Its `options`, `application_name` and `stream` are set here. */
  readonly connection: ClientConfig
  readonly slot: string
  /** For a replay: `slot` is made first, as a temporary copy of this one, which must stand at or below the start. */
  readonly copyOf?: string
  readonly plugin: 'pgoutput' | 'wal2json'
  /** Only for pgoutput. */
  readonly publication: string
  readonly table: TableName
  /** Asks over another connection whether the walsender of this pid is at work on the slot. Rejects when it cannot tell. */
  readonly isWalsenderAlive: (pid: number) => Promise<boolean>
  /** Milliseconds: wal_sender_timeout of this connection; the server's own when absent. */
  readonly walSenderTimeout?: number
  /** Milliseconds between status updates, default 10 s; never more than a quarter of wal_sender_timeout. */
  readonly statusInterval?: number
  /** Goes on counting in these, over several sessions. */
  readonly counters?: SourceCounters
}

/** The WAL side of one session, from a PostgreSQL slot. Made for one start() and one stop(). */
export class PostgresSource implements Source {
  readonly counters: SourceCounters
  readonly #options: PostgresSourceOptions
  #stream: ReplicationStream | undefined
  #assembler: EventAssembler | undefined
  #handlers: SourceHandlers | undefined
  #acknowledgement: Acknowledgement | undefined
  #status: StatusTimer | undefined
  #watchdog: Watchdog | undefined
  #isOpen = false
  #isScheduled = false
  #isStopped = false
  #isOver = false
  #walSenderTimeout = 0

  constructor(options: PostgresSourceOptions) {
    this.#options = options
    this.counters = options.counters ?? { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  }

  get walSenderTimeout(): number {
    return this.#walSenderTimeout
  }

  async start(position: StartPosition, handlers: SourceHandlers): Promise<void> {
    assert(this.#stream === undefined, 'a source is started only once')
    if (this.#isStopped) throw new BridgeError('SOURCE_CONNECTION_LOST', 'the source was stopped before it was started')
    const { connection, slot, copyOf, plugin, publication, table, walSenderTimeout } = this.#options
    const decoder = plugin === 'pgoutput' ? new PgoutputDecoder({ publication, table }) : new Wal2jsonDecoder({ table })
    const assembler = new EventAssembler(position, this.counters)
    this.#assembler = assembler
    this.#handlers = handlers
    const stream = new ReplicationStream(
      {
        connection,
        slot,
        decoder,
        ...(copyOf !== undefined && { copyOf }),
        ...(walSenderTimeout !== undefined && { walSenderTimeout }),
      },
      {
        onPayload: (payload) => {
          this.counters.bytes += payload.length
          decoder.decode(payload, assembler)
          this.#schedule()
        },
        onKeepalive: (walEnd, replyRequested) => {
          assembler.keepalive(walEnd)
          this.#schedule()
          if (replyRequested) this.#status?.asked()
        },
        onEnd: (error) => this.#onEnd(error),
      },
    )
    this.#stream = stream
    this.#attend(stream, await stream.start(position.lsn))
  }

  pause(): void {
    this.#stream?.pause()
    this.#watchdog?.pause()
  }

  resume(): void {
    if (!this.#isOpen) {
      this.#isOpen = true
      this.#schedule()
    }
    this.#stream?.resume()
    this.#watchdog?.resume()
  }

  /** Throws ASSERTION_FAILED for an LSN above what was received. */
  acknowledge(stored: Lsn): void {
    if (this.#acknowledgement?.advance(stored, this.#assembler!.received)) this.#status?.acknowledged()
  }

  async stop(): Promise<void> {
    if (!this.#isStopped) {
      this.#isStopped = true
      this.#sendStatus(false)
      this.#rest()
    }
    await this.#stream?.close()
  }

  /** Begins to keep the connection alive, and to watch that it is. */
  #attend(stream: ReplicationStream, facts: WalsenderFacts): void {
    if (this.#isStopped || this.#isOver) return
    // Neither from the start position nor from where the slot stands: see Acknowledgement.
    this.#acknowledgement = new Acknowledgement()
    const timeout = facts.walSenderTimeout
    this.#walSenderTimeout = timeout
    const { statusInterval = statusIntervalMax } = this.#options
    // Also when the server's own timeout is shorter than the configuration knows.
    const interval = timeout === 0 ? statusInterval : Math.min(statusInterval, timeout / 4)
    this.#status = new StatusTimer(interval, () => this.#sendStatus(false))
    this.#watchdog = new Watchdog({
      timeout: Math.min(timeout, silenceMax),
      bytesRead: () => stream.bytesRead,
      probe: () => this.#sendStatus(true),
      isWalsenderAlive: () => this.#options.isWalsenderAlive(facts.pid),
      onDead: (silence) => {
        const seconds = Math.round(silence / 1000)
        stream.fail(
          new BridgeError(
            'SOURCE_SILENT',
            `PostgreSQL has said nothing for ${seconds} s on slot ${this.#options.slot}`,
          ),
        )
      },
    })
    this.#status.start()
    this.#watchdog.start()
  }

  /** The only place where the slot is told anything. */
  #sendStatus(replyRequested: boolean): void {
    if (this.#acknowledgement === undefined) return
    this.#stream?.sendStatus(this.#acknowledgement.stored, replyRequested)
    this.#status?.sent()
  }

  /** Hands on in one piece what one socket chunk held: a chunk is parsed in one go, before any microtask. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (!this.#isOpen || this.#isStopped || !this.#assembler!.hasEvents) return
    try {
      this.#handlers!.onEvents(this.#assembler!.take())
    } catch (error) {
      this.#stream!.fail(toBridgeError(error))
      this.#isStopped = true
    }
  }

  #rest(): void {
    this.#status?.stop()
    this.#watchdog?.stop()
  }

  #onEnd(error: BridgeError | undefined): void {
    this.#isOver = true
    this.#rest()
    this.#flush()
    this.#handlers!.onEnd(error)
  }
}
