import type { Socket } from 'node:net'
import type { Client, ClientConfig } from 'pg'
import { LogicalReplicationService } from 'pg-logical-replication'
import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, noLsn, parseLsn } from '../base/lsn.ts'
import { librarySendsNext, statusWithoutPosition } from './acknowledgement.ts'
import { replicationConfig } from './connection-config.ts'
import { guardFrames } from './copy-frames.ts'
import { noticeFailure, toSourceError } from './failure.ts'
import { OutputPlugin, type WalsenderFacts } from './output-plugin.ts'
import type { WalDecoder } from './wal-decoder.ts'
import { settledWithin } from './within.ts'

/** Milliseconds for the whole of connecting and START_REPLICATION, beyond the connect timeout. */
const startTimeout = 30_000
/** Milliseconds for the server to end the stream when asked to, and then for the connection to end. */
const endTimeout = 1000

export interface ReplicationStreamOptions {
  readonly connection: ClientConfig
  readonly slot: string
  /** Make `slot` first, as a temporary copy of this one, which must stand at or below the start. */
  readonly copyOf?: string
  readonly decoder: WalDecoder
  readonly walSenderTimeout?: number
}

export interface StreamHandlers {
  /** One XLogData payload, valid during the call only. May throw: that ends the stream. */
  onPayload(payload: Buffer): void
  onKeepalive(walEnd: Lsn, replyRequested: boolean): void
  /** Once, after the connection is gone; undefined when close() was asked for. Not called when start() rejects. */
  onEnd(error: BridgeError | undefined): void
}

/** The parts of the driver's connection that its type declarations leave out. */
interface CopyConnection {
  endCopyFrom(): void
  sendCopyFromChunk(chunk: Buffer): void
}

/**
 * pg-logical-replication, made safe: it acknowledges nothing by itself, no exception leaves its socket listener, every
 * way in which a stream can end is reported once, and ending is bounded in time.
 *
 *   new ──start()──► starting ──'start'──► streaming ──close() or failure──► ending ──► ended
 */
export class ReplicationStream {
  readonly #options: ReplicationStreamOptions
  readonly #handlers: StreamHandlers
  readonly #service: LogicalReplicationService
  readonly #socket: Socket
  #client: Client | undefined
  #facts: WalsenderFacts | undefined
  #subscribed: Promise<unknown> = Promise.resolve()
  #begun: { resolve: (facts: WalsenderFacts) => void; reject: (error: BridgeError) => void } | undefined
  #ending: Promise<void> | undefined

  constructor(options: ReplicationStreamOptions, handlers: StreamHandlers) {
    this.#options = options
    this.#handlers = handlers
    const { config, socket } = replicationConfig(options.connection, options)
    this.#socket = socket
    // With `auto` or a timeout it would acknowledge what was *received*.
    this.#service = new LogicalReplicationService(config, { acknowledge: { auto: false, timeoutSeconds: 0 } })
  }

  /** Bytes that came in so far. */
  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  /** Resolves when the server has begun to stream; the socket is paused then. Rejects with a BridgeError. */
  async start(lsn: Lsn): Promise<WalsenderFacts> {
    const { slot, copyOf, decoder } = this.#options
    const service = this.#service
    const handlers = {
      onConnected: (client: Client, facts: WalsenderFacts) => this.#onConnected(client, facts),
      onPayload: (payload: Buffer) => this.#guard(() => this.#handlers.onPayload(payload)),
    }
    const plugin = new OutputPlugin(decoder, handlers, copyOf)
    service.on('error', (error: unknown) => this.#fail(error))
    service.on('heartbeat', (walEnd: string, _time: number, replyRequested: boolean) =>
      this.#guard(() => this.#handlers.onKeepalive(parseLsn(walEnd), replyRequested)),
    )
    const begun = new Promise<WalsenderFacts>((resolve, reject) => {
      this.#begun = { resolve, reject }
    })
    service.on('start', () => {
      this.pause()
      this.#begun?.resolve(this.#facts!)
      this.#begun = undefined
    })
    // Always with the LSN: without one the library goes on from what it received last.
    this.#subscribed = service.subscribe(plugin, slot, formatLsn(lsn))
    this.#subscribed.then(
      () => this.#fail(new BridgeError('SOURCE_CONNECTION_LOST', 'the server ended the replication stream')),
      (error: unknown) => this.#fail(error),
    )
    if (!(await settledWithin(begun, startTimeout + (this.#options.connection.connectionTimeoutMillis ?? 0)))) {
      this.#fail(new BridgeError('SOURCE_UNREACHABLE', `no answer to START_REPLICATION of slot ${slot} in time`))
    }
    return begun
  }

  pause(): void {
    this.#client?.connection.stream.pause()
  }

  resume(): void {
    if (this.#ending === undefined) this.#client?.connection.stream.resume()
  }

  /**
   * Sends a status update: `stored` as written, flushed and applied; 0/0 keeps the connection and says no position.
   * Nothing happens before and after the stream.
   */
  sendStatus(stored: Lsn, replyRequested: boolean): void {
    if (this.#begun !== undefined || this.#ending !== undefined) return
    if (stored === noLsn) {
      const connection = this.#client!.connection as unknown as CopyConnection
      connection.sendCopyFromChunk(statusWithoutPosition(replyRequested, Date.now()))
      return
    }
    this.#service.acknowledge(librarySendsNext(stored), replyRequested).catch((error: unknown) => this.#fail(error))
  }

  /** Ends stream and connection within a bound. Idempotent, never rejects. */
  close(): Promise<void> {
    this.#end(undefined)
    return this.#ending!
  }

  fail(error: BridgeError): void {
    this.#end(error)
  }

  #onConnected(client: Client, facts: WalsenderFacts): void {
    const { decoder } = this.#options
    if (!decoder.convertsEncoding && facts.serverEncoding !== 'UTF8') {
      throw new BridgeError(
        'SOURCE_ENCODING',
        `the database has the encoding ${facts.serverEncoding}, and ${decoder.plugin} needs UTF8`,
      )
    }
    this.#client = client
    this.#facts = facts
    guardFrames(client.connection, (handle) => this.#guard(handle))
    client.on('notice', (notice) => {
      const failure = noticeFailure(notice)
      if (failure !== undefined) this.#fail(failure)
    })
  }

  /** An exception in a socket listener would end the process. After the end, what still comes is dropped. */
  #guard(handle: () => void): void {
    if (this.#ending !== undefined) return
    try {
      handle()
    } catch (error) {
      this.#fail(
        error instanceof BridgeError || !(error instanceof RangeError)
          ? error
          : new BridgeError('SOURCE_PROTOCOL', `a message was cut short: ${error.message}`, { cause: error }),
      )
    }
  }

  #fail(error: unknown): void {
    const doing = `${this.#begun === undefined ? 'streaming' : 'starting to stream'} from slot ${this.#options.slot}`
    this.#end(toSourceError(error, { doing }))
  }

  /** The first reason counts: one broken connection shows itself in several places. */
  #end(error: BridgeError | undefined): void {
    if (this.#ending !== undefined) return
    const begun = this.#begun
    this.#ending = this.#disconnect(error === undefined && begun === undefined).then(() => {
      if (begun === undefined) this.#handlers.onEnd(error)
      else begun.reject(error ?? new BridgeError('SOURCE_CONNECTION_LOST', 'the source was stopped while starting'))
    })
  }

  async #disconnect(inOrder: boolean): Promise<void> {
    const connection = this.#client?.connection
    if (inOrder && connection !== undefined) {
      // CopyDone: the server reads the last status update before it, then frees the slot and says so. It cannot while
      // it waits for us to read.
      ;(connection as unknown as CopyConnection).endCopyFrom()
      connection.stream.resume()
      await settledWithin(this.#subscribed, endTimeout)
    } else {
      this.#socket.destroy()
    }
    // It waits for the server to close the connection.
    const stopped = this.#service.stop()
    if (!(await settledWithin(stopped, endTimeout))) this.#socket.destroy()
    await settledWithin(stopped, endTimeout)
  }
}
