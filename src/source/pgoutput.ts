import { BridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import { quoteIdent, type TableName } from '../base/sql.ts'
import { commitTime } from './commit-time.ts'
import { MessageReader } from './message-reader.ts'
import type { SourceColumn, SourceRelation } from './source.ts'
import { typeName } from './type-name.ts'
import type { DecodedStream, WalDecoder } from './wal-decoder.ts'
import { BufferTuple } from './wal-tuple.ts'

// First bytes of the messages of protocol version 1.
// Source: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
const begin = 0x42 // B
const commit = 0x43 // C
const del = 0x44 // D
const insert = 0x49 // I
const message = 0x4d // M
const origin = 0x4f // O
const relation = 0x52 // R
const truncate = 0x54 // T
const update = 0x55 // U
const type = 0x59 // Y

const newTuple = 0x4e // N
const columnNull = 0x6e // n
const columnText = 0x74 // t

export interface PgoutputOptions {
  readonly publication: string
  /** The outbox table; for a partitioned one the root (publish_via_partition_root). */
  readonly table: TableName
}

/**
 * Decodes PostgreSQL's own output plugin, protocol version 1: a transaction comes whole, after its commit, and Begin
 * carries its final LSN. A tuple is copied once and sliced later, on demand; no value is parsed.
 */
export class PgoutputDecoder implements WalDecoder {
  readonly plugin = 'pgoutput'
  readonly options: ReadonlyArray<readonly [string, string]>
  readonly convertsEncoding = true
  readonly #table: TableName
  /** What each relation OID stands for; null for a table that is not the outbox. */
  readonly #relations = new Map<number, SourceRelation | null>()
  #lastOid = -1
  #last: SourceRelation | null = null
  #commitHigh = 0
  #commitLow = 0
  #commitLsn: Lsn = 0n

  constructor(options: PgoutputOptions) {
    this.#table = options.table
    // The server splits publication_names as a list of identifiers, hence the quotes inside of the literal.
    this.options = [
      ['proto_version', '1'],
      ['publication_names', quoteIdent(options.publication)],
      ['messages', 'false'],
    ]
  }

  decode(payload: Buffer, into: DecodedStream): void {
    switch (payload[0]) {
      case insert:
        this.#insert(payload, into)
        break
      case begin:
        this.#begin(payload, into)
        break
      case commit:
        this.#commit(payload, into)
        break
      case relation:
        this.#relation(payload)
        break
      case update:
      case del:
      case truncate:
      case type:
      case origin:
      case message:
        into.ignored()
        break
      default:
        throw protocolError(`message of kind ${describeByte(payload[0])}, expected one of B C D I M O R T U Y`)
    }
  }

  #begin(payload: Buffer, into: DecodedStream): void {
    const high = payload.readUInt32BE(1)
    const low = payload.readUInt32BE(5)
    const time = commitTime(payload.readInt32BE(9), payload.readUInt32BE(13))
    this.#commitHigh = high
    this.#commitLow = low
    this.#commitLsn = payload.readBigUInt64BE(1)
    into.begin({
      commitLsn: this.#commitLsn,
      commitLsnText: `${high.toString(16)}/${low.toString(16)}`.toUpperCase(),
      committedAt: time.text,
      committedAtSeconds: time.seconds,
    })
  }

  #commit(payload: Buffer, into: DecodedStream): void {
    const same = payload.readUInt32BE(2) === this.#commitHigh && payload.readUInt32BE(6) === this.#commitLow
    into.commit(same ? this.#commitLsn : payload.readBigUInt64BE(2), payload.readBigUInt64BE(10))
  }

  #relation(payload: Buffer): void {
    const oid = payload.readUInt32BE(1)
    const reader = new MessageReader(payload, 5)
    const schema = reader.name()
    const table = reader.name()
    reader.skip(1) // replica identity: only of UPDATE and DELETE
    const columns: SourceColumn[] = []
    for (let left = reader.uint16(); left > 0; left--) {
      reader.skip(1) // flags: part of the key
      const name = reader.name()
      columns.push({ name, type: typeName(reader.uint32()) })
      reader.skip(4) // type modifier
    }
    const isOutbox = table === this.#table.name && (schema || 'pg_catalog') === this.#table.schema
    this.#relations.set(oid, isOutbox ? { schema, table, columns } : null)
    this.#lastOid = -1
  }

  #insert(payload: Buffer, into: DecodedStream): void {
    const oid = payload.readUInt32BE(1)
    if (oid !== this.#lastOid) {
      const known = this.#relations.get(oid)
      if (known === undefined) throw protocolError(`insert into relation ${oid}, which the stream has not described`)
      this.#lastOid = oid
      this.#last = known
    }
    const outbox = this.#last
    if (outbox === null) {
      into.ignored()
      return
    }
    const count = payload.readUInt16BE(6)
    if (payload[5] !== newTuple || count !== outbox.columns.length) {
      throw protocolError(
        `insert with ${count} columns and tuple kind ${describeByte(payload[5])}, expected ${outbox.columns.length} and N`,
      )
    }
    // pg-protocol moves unread bytes to the front of its receive buffer, under any slice of it: own the bytes.
    const data = Buffer.allocUnsafe(payload.length - 8)
    payload.copy(data, 0, 8)
    into.row(outbox, new BufferTuple(data, columnBounds(data, count)))
  }
}

/** Start and end of each column's text in TupleData (without its leading count); -1, -1 for NULL. */
function columnBounds(data: Buffer, count: number): number[] {
  const bounds: number[] = []
  let offset = 0
  for (let column = 0; column < count; column++) {
    const kind = data[offset]
    if (kind === columnText) {
      const start = offset + 5
      offset = start + data.readUInt32BE(offset + 1)
      bounds.push(start, offset)
    } else if (kind === columnNull) {
      offset += 1
      bounds.push(-1, -1)
    } else {
      // `u` (unchanged TOAST) belongs to UPDATE, `b` (binary) was not asked for.
      throw protocolError(`column ${column} of kind ${describeByte(kind)} in an insert, expected t or n`)
    }
  }
  if (offset !== data.length) throw protocolError(`insert of ${data.length} bytes whose columns take ${offset}`)
  return bounds
}

function describeByte(byte: number | undefined): string {
  if (byte === undefined) return 'nothing (empty)'
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `0x${byte.toString(16).padStart(2, '0')}`
}

function protocolError(what: string): BridgeError {
  return new BridgeError('SOURCE_PROTOCOL', `pgoutput sent ${what}`)
}
