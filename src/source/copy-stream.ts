import type { Socket } from 'node:net'
import pg, { type ClientConfig } from 'pg'
import { BridgeError } from '../base/errors.ts'
import { quoteLiteral } from '../base/sql.ts'
import { tableConfig } from './connection-config.ts'
import { CopyOut } from './copy-out.ts'
import { toSourceError } from './failure.ts'
import { settledWithin } from './within.ts'

/** Milliseconds for connecting and opening the transaction, beyond the connect timeout; and for an orderly end. */
const startTimeout = 30_000
const endTimeout = 1000

export interface CopyStreamHandlers {
  /** One row in text format, valid during the call only. May throw: that ends the stream. */
  onRow(chunk: Buffer): void
  /** All rows have come, as many as the server says. May throw: that ends the stream. */
  onDone(rows: number): void
  /** Once, after the connection is gone; undefined when close() was asked for. Not called when start() rejects. */
  onEnd(error: BridgeError | undefined): void
}

/**
 * One COPY TO STDOUT in a read-only transaction of its own connection, which ends with it. Made for one start() and one
 * close(); every way in which it can end is reported once.
 */
export class CopyStream {
  readonly #handlers: CopyStreamHandlers
  readonly #client: pg.Client
  readonly #socket: Socket
  #hasBegun = false
  #isDone = false
  #isPaused = true
  #ending: Promise<void> | undefined
  #reason: BridgeError | undefined

  constructor(connection: ClientConfig, handlers: CopyStreamHandlers, lockTimeout_ms = 0) {
    this.#handlers = handlers
    const { config, socket } = tableConfig(connection, lockTimeout_ms)
    this.#client = new pg.Client(config)
    this.#socket = socket
    this.#client.on('error', (error) => this.#fail(error))
  }

  /**
   * Resolves with the server's clock (`2026-01-31 23:59:59.1234+00`) when the transaction stands, in the exported snapshot
   * where one is named, and `sql` is sent; the socket is paused then. That the server refuses `sql` comes through onEnd,
   * for it may sort for minutes before it says anything. Rejects with a BridgeError.
   */
  async start(sql: string, snapshotId: string | undefined, connectTimeout: number): Promise<string> {
    // A socket that was destroyed would connect all the same.
    if (this.#ending !== undefined) throw stoppedWhileStarting()
    const opened = this.#open(snapshotId)
    if (!(await settledWithin(opened, startTimeout + connectTimeout))) {
      this.#end(new BridgeError('SOURCE_UNREACHABLE', 'PostgreSQL did not open a transaction for the table in time'))
    }
    let clock: string
    try {
      clock = await opened
    } catch (error) {
      this.#fail(error)
      throw this.#reason ?? stoppedWhileStarting()
    }
    if (this.#ending !== undefined) throw this.#reason ?? stoppedWhileStarting()
    this.#hasBegun = true
    this.#client.query(
      new CopyOut(sql, {
        onRow: (chunk) => this.#guard(() => this.#handlers.onRow(chunk)),
        onDone: (rows) => this.#done(rows),
        onError: (error) => this.#fail(error),
      }),
    )
    if (this.#isPaused) this.pause()
    return clock
  }

  /** Nothing more is read from the socket. */
  pause(): void {
    this.#isPaused = true
    if (this.#hasBegun && !this.#isDone) this.#client.connection.stream.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#hasBegun && this.#ending === undefined) this.#client.connection.stream.resume()
  }

  /** Ends the connection within a bound. Idempotent, never rejects. */
  close(): Promise<void> {
    this.#end(undefined)
    return this.#ending!
  }

  fail(error: BridgeError): void {
    this.#end(error)
  }

  async #open(snapshotId: string | undefined): Promise<string> {
    const client = this.#client
    await client.connect()
    // transaction_timeout came with version 17: asked for on the command line it would be refused before.
    const { rows } = await client.query(
      `SELECT clock_timestamp()::text AS clock,
        (SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout')`,
    )
    // A server that still sorts notices by this that nobody waits for it any more.
    await client.query(`SET client_connection_check_interval = '1s'`).catch(() => {
      // Some platforms have no such check: there the sort is done in vain.
    })
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    if (snapshotId !== undefined) await client.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshotId)}`)
    return String(rows[0]?.clock)
  }

  /** The transaction holds vacuum back: it is not kept for longer than it is needed. */
  #done(rows: number): void {
    this.#guard(() => {
      this.#isDone = true
      this.#handlers.onDone(rows)
      // Whether this connection ends in order is of no interest any more. It must be read to notice its end.
      this.#client.connection.stream.resume()
      void this.#client.end()
    })
  }

  /** An exception in a socket listener would end the process. After the end, what still comes is dropped. */
  #guard(handle: () => void): void {
    if (this.#ending !== undefined) return
    try {
      handle()
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.#isDone) return
    const doing = this.#hasBegun ? 'reading the table' : 'opening a transaction to read the table'
    this.#end(toSourceError(error, { doing }))
  }

  /** The first reason counts: one broken connection shows itself in several places. */
  #end(error: BridgeError | undefined): void {
    if (this.#ending !== undefined) return
    this.#reason = error
    this.#ending = this.#disconnect().then(() => {
      if (this.#hasBegun) this.#handlers.onEnd(error)
    })
  }

  async #disconnect(): Promise<void> {
    // In the middle of a COPY there is no other way; the server notices with its next row.
    if (!this.#isDone) this.#socket.destroy()
    // Before: a client that is told to end while it connects never says that it did not.
    if (this.#hasBegun) await settledWithin(this.#client.end(), endTimeout)
    this.#socket.destroy()
  }
}

function stoppedWhileStarting(): BridgeError {
  return new BridgeError('SOURCE_CONNECTION_LOST', 'the source was stopped while starting')
}
