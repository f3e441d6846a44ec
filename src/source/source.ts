import type { Lsn } from '../base/lsn.ts'

/** What `Begin` says of a transaction, shared by all of its rows. */
export interface SourceTransaction {
  /** Where the commit record starts: the transaction's part of a position. Never stored, never resumed from. */
  readonly commitLsn: Lsn
  /** The same as text, `16/B374D848`: made once a transaction, for the header `wal-lsn`. */
  readonly commitLsnText: string
  /** Commit time, ISO 8601 with microseconds in UTC: `2026-01-31T23:59:59.123456Z`. */
  readonly committedAt: string
  /** Commit time in whole seconds since the epoch. */
  readonly committedAtSeconds: number
}

/** A column as the stream describes it. */
export interface SourceColumn {
  readonly name: string
  /** `json`, `jsonb`, `text`, `varchar`, `bpchar`, `bytea`, `uuid`, `timestamptz`, `int4`, …; `oid:NNN` when unknown. */
  readonly type: string
}

/**
 * The outbox table as the stream last described it. A new object comes with each Relation message, so that readers may
 * be compiled once for each and kept by identity.
 */
export interface SourceRelation {
  readonly schema: string
  readonly table: string
  readonly columns: readonly SourceColumn[]
}

/** The columns of one row, still as PostgreSQL printed them. Owns its bytes: nothing of it is overwritten later. */
export interface SourceTuple {
  /** Column `index` as text; null for SQL NULL. */
  text(index: number): string | null
  /** Column `index` as the bytes of its text form; null for SQL NULL. */
  bytes(index: number): Buffer | null
  /** Size in bytes of the text form; 0 for SQL NULL. */
  byteLength(index: number): number
  /** Bytes of memory that all columns take, about. */
  readonly size: number
}

/** One row inserted into the outbox by a committed transaction. */
export interface SourceRow {
  readonly kind: 'row'
  readonly transaction: SourceTransaction
  /** 0-based number of this row among the outbox rows of its transaction. */
  readonly ordinal: number
  readonly relation: SourceRelation
  readonly tuple: SourceTuple
}

/** The end of a transaction; comes for every transaction that the stream announced, also one without rows. */
export interface SourceCommit {
  readonly kind: 'commit'
  readonly commitLsn: Lsn
  /** Where the commit record ends: what may be stored once all before it is settled. */
  readonly endLsn: Lsn
}

/** A keep-alive outside of any transaction: all that committed below `walEnd` has been handed on already. */
export interface SourceIdle {
  readonly kind: 'idle'
  readonly walEnd: Lsn
}

export type SourceEvent = SourceRow | SourceCommit | SourceIdle

/** Where to start: `lsn` is an end LSN (or 0/0); the first `rows` rows of the transaction `commitLsn` are passed over. */
export interface StartPosition {
  readonly lsn: Lsn
  readonly partial: { readonly commitLsn: Lsn; readonly rows: number } | null
}

export interface SourceHandlers {
  /** Events in stream order, all that one socket chunk held. Called synchronously; must not throw. */
  onEvents(events: SourceEvent[]): void
  /** The stream is over (once, also after stop). Undefined when stop() was asked for. */
  onEnd(error: Error | undefined): void
}

/** Counters since the source was made; plain numbers, read at scrape time. */
export interface SourceCounters {
  rows: number
  transactions: number
  bytes: number
  /** Messages that publish nothing: update, delete, truncate, type, origin, logical message, other table. */
  ignored: number
  keepalives: number
}

/** One replication connection streaming from one slot: the WAL side of a session. */
export interface Source {
  readonly counters: SourceCounters
  /** How long the server keeps the slot for us without a word, milliseconds; 0: for ever. Known once started. */
  readonly walSenderTimeout: number
  /**
   * Connects and starts streaming at `position`. Resolves when the server has begun to stream; nothing is handed to
   * onEvents before the first resume(). Rejects with a BridgeError (SLOT_ACTIVE, SOURCE_UNREACHABLE, …).
   */
  start(position: StartPosition, handlers: SourceHandlers): Promise<void>
  /** Stops reading the socket (back-pressure). Status updates and liveness go on. What is already parsed still arrives. */
  pause(): void
  resume(): void
  /** Tells the slot that all below `stored` is safe. Monotonic; sent at once or with the next status update. */
  acknowledge(stored: Lsn): void
  /** Sends the last acknowledgement, ends the stream and the connection within a bound. Idempotent, never rejects. */
  stop(): Promise<void>
}
