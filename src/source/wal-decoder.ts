import type { Lsn } from '../base/lsn.ts'
import type { SourceRelation, SourceTransaction, SourceTuple } from './source.ts'

/** Takes what a decoder reads, in stream order. Its methods throw a BridgeError when the order makes no sense. */
export interface DecodedStream {
  begin(transaction: SourceTransaction): void
  row(relation: SourceRelation, tuple: SourceTuple): void
  /** `commitLsn` as the end of the transaction states it, to be compared with its beginning. */
  commit(commitLsn: Lsn, endLsn: Lsn): void
  /** A message that publishes nothing. */
  ignored(): void
}

/** Reads the payloads of one output plugin. Keeps what the session taught it (relations), so one for each session. */
export interface WalDecoder {
  readonly plugin: 'pgoutput' | 'wal2json'
  /** Options of START_REPLICATION, name and value, unquoted. */
  readonly options: ReadonlyArray<readonly [name: string, value: string]>
  /** False where the plugin hands on text in the encoding of the database, whatever the client asked for. */
  readonly convertsEncoding: boolean
  /**
   * Decodes one XLogData payload. Nothing of `payload` may be kept: pg-protocol overwrites its receive buffer.
   * Throws a BridgeError SOURCE_PROTOCOL (or what `into` throws); a RangeError when the payload is cut short.
   */
  decode(payload: Buffer, into: DecodedStream): void
}
