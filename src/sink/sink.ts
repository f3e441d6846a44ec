import type { BridgeError, ErrorCode } from '../base/errors.ts'

/** AMQP header values as amqplib encodes them; 64-bit integers in its typed form. */
export type HeaderValue =
  | string
  | number
  | boolean
  | null
  | { readonly '!': 'int64'; readonly value: bigint }
  | HeaderValue[]
  | { [name: string]: HeaderValue }

/** One message as it goes to amqplib's publish(): nothing is decided after this. */
export interface OutboundMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly body: Buffer
  readonly properties: MessageProperties
}

export interface MessageProperties {
  messageId: string
  type: string
  contentType: string
  timestamp: number
  appId: string
  persistent: true
  mandatory: true
  headers: Record<string, HeaderValue>
  correlationId?: string
  expiration?: string
  priority?: number
}

/** Why one event cannot be delivered; becomes the dead letter's reason. */
export interface Refusal {
  readonly code: ErrorCode
  readonly text: string
}

/** What a refused row still tells of the message that it was to become. */
export interface RefusedContent {
  /** Null: could not be decided; likewise the routing key. */
  readonly exchange: string | null
  readonly routingKey: string | null
  readonly contentType: string
  /** What would have been sent, whatever its size. */
  readonly body: Buffer
  /** The headers column as PostgreSQL printed it. */
  readonly headersText: string | null
}

/** Where a row came from: its columns as PostgreSQL printed them, and when its transaction committed. */
export interface RowOrigin {
  readonly relation: { readonly columns: readonly { readonly name: string; readonly type: string }[] }
  readonly tuple: {
    text(index: number): string | null
    bytes(index: number): Buffer | null
    byteLength(index: number): number
    /** Bytes of memory that all columns take, about. */
    readonly size: number
  }
  /** ISO 8601 with microseconds. */
  readonly transaction: { readonly committedAt: string }
}

/** What to do with an event that no queue takes. */
export type UnroutablePolicy = 'dead-letter' | 'block' | 'drop'

/** How the sink stands. `stuck`: what cannot be delivered cannot be kept either. `failing`: halted, looked at again. */
export type SinkState = 'idle' | 'connecting' | 'open' | 'blocked' | 'stuck' | 'failing' | 'closed'

/** Counters since the sink was made; plain numbers, read at scrape time. */
export interface SinkCounters {
  published: number
  confirmed: number
  nacked: number
  returned: number
  deadLettered: number
  dropped: number
  reconnects: number
}

export interface SinkHandlers {
  /** The settled position may have moved, or room was made. Called at most once per batch of confirms. */
  onProgress(): void
  /** State or reason changed. */
  onState(): void
}

/**
 * Publishes what the window holds, in order, and settles it from the broker's answers. Reconnects in place for ever: it
 * never rejects after start(), it reports. Everything unsettled stays in the window and is sent again after a reconnect.
 */
export interface Sink {
  readonly state: SinkState
  /** Why it is not open; undefined when it is. */
  readonly reason: BridgeError | undefined
  readonly counters: SinkCounters
  /** Begins to connect, at once and in the background. */
  start(handlers: SinkHandlers): void
  /** The window has new rows: publish what fits. Cheap to call. */
  flush(): void
  /** What it may have waited for is there again: the right to publish, the database. */
  resume(): void
  /** Closes channel and connection within a bound; unsettled rows stay unsettled. Idempotent. */
  stop(): Promise<void>
}
