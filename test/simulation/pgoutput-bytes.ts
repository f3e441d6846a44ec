// Messages of pgoutput, protocol version 1, as PostgreSQL writes them.
// Source: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html

const outboxOid = 16_401
const otherOid = 16_402

const outboxColumns: readonly (readonly [name: string, typeOid: number])[] = [
  ['id', 2950],
  ['aggregate_type', 25],
  ['aggregate_id', 25],
  ['type', 25],
  ['payload', 3802],
  ['headers', 3802],
  ['created_at', 1184],
  ['exchange', 25],
]

export function beginBytes(commitLsn: bigint, xid: number): Buffer {
  const bytes = Buffer.alloc(21)
  bytes[0] = 0x42
  bytes.writeBigUInt64BE(commitLsn, 1)
  bytes.writeBigInt64BE(commitTime_us, 9)
  bytes.writeUInt32BE(xid, 17)
  return bytes
}

export function commitBytes(commitLsn: bigint, endLsn: bigint): Buffer {
  const bytes = Buffer.alloc(26)
  bytes[0] = 0x43
  bytes.writeBigUInt64BE(commitLsn, 2)
  bytes.writeBigUInt64BE(endLsn, 10)
  bytes.writeBigInt64BE(commitTime_us, 18)
  return bytes
}

/** An insert into the outbox: one text or null for each of its columns. */
export function insertBytes(values: readonly (string | null)[]): Buffer {
  return insert(outboxOid, values)
}

/** What comes before the first row of a stream: the descriptions of the outbox and of another table. */
export const relationBytes: readonly Buffer[] = [
  relation(outboxOid, 'outbox', outboxColumns),
  relation(otherOid, 'other', [['n', 23]]),
]

/** Messages that publish nothing: a row of another table, an update of it, a truncate of the outbox. */
export const noiseBytes: readonly Buffer[] = [
  insert(otherOid, ['1']),
  Buffer.concat([Buffer.of(0x55), uint32(otherOid), tuple(['2'])]),
  Buffer.concat([Buffer.of(0x54), uint32(1), Buffer.of(0), uint32(outboxOid)]),
]

/** 2026-01-01 in microseconds since 2000-01-01. */
const commitTime_us = 820_540_800_000_000n

function relation(oid: number, table: string, columns: readonly (readonly [string, number])[]): Buffer {
  const parts = [Buffer.of(0x52), uint32(oid), name('public'), name(table), Buffer.of(0x64), uint16(columns.length)]
  for (const [column, type] of columns) parts.push(Buffer.of(0), name(column), uint32(type), uint32(0xffffffff))
  return Buffer.concat(parts)
}

function insert(oid: number, values: readonly (string | null)[]): Buffer {
  return Buffer.concat([Buffer.of(0x49), uint32(oid), tuple(values)])
}

function tuple(values: readonly (string | null)[]): Buffer {
  const parts = [Buffer.of(0x4e), uint16(values.length)]
  for (const value of values) {
    if (value === null) parts.push(Buffer.of(0x6e))
    else {
      const text = Buffer.from(value, 'utf8')
      parts.push(Buffer.of(0x74), uint32(text.length), text)
    }
  }
  return Buffer.concat(parts)
}

function name(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8')
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
