import { BridgeError } from '../base/errors.ts'
import { BufferTuple } from './wal-tuple.ts'

const tab = 0x09
const newline = 0x0a
const backslash = 0x5c
const nullMark = 0x4e // N

/** What a letter after a backslash stands for; the server writes no other escape, octal and hexadecimal are input only. */
const escaped: ReadonlyMap<number, number> = new Map([
  [0x5c, 0x5c], // \\
  [0x62, 0x08], // \b
  [0x66, 0x0c], // \f
  [0x6e, 0x0a], // \n
  [0x72, 0x0d], // \r
  [0x74, 0x09], // \t
  [0x76, 0x0b], // \v
])

/**
 * One row of COPY TO in text format: `chunk` is the content of one CopyData message, which the server sends for each row.
 * The tuple owns its bytes, for pg-protocol overwrites its receive buffer. Throws a BridgeError SOURCE_PROTOCOL for what
 * no server writes.
 * Source: PostgreSQL documentation, "COPY", File Formats, Text Format; "Message Formats", CopyData.
 */
export function decodeCopyRow(chunk: Buffer, columns: number): BufferTuple {
  const end = chunk.length - 1
  if (chunk[end] !== newline) throw protocolError(`a row of ${chunk.length} bytes without a newline at its end`)
  const data = Buffer.allocUnsafe(end)
  const bounds: number[] = []
  let written = 0
  let start = 0
  let isNull = false
  for (let offset = 0; offset <= end; offset++) {
    const byte = chunk[offset]!
    if (offset === end || byte === tab) {
      if (isNull && written !== start) throw protocolError('a column with \\N and more')
      bounds.push(isNull ? -1 : start, isNull ? -1 : written)
      start = written
      isNull = false
    } else if (byte !== backslash) {
      data[written++] = byte
    } else {
      const letter = chunk[++offset]!
      const meant = escaped.get(letter)
      if (meant !== undefined) data[written++] = meant
      else if (letter === nullMark && written === start && !isNull) isNull = true
      else throw protocolError(`\\ before byte 0x${letter.toString(16)}, expected one of \\ b f n r t v, or N alone`)
    }
  }
  if (bounds.length !== columns * 2) {
    throw protocolError(`a row of ${bounds.length / 2} columns, expected ${columns}`)
  }
  return new BufferTuple(data, bounds)
}

function protocolError(what: string): BridgeError {
  return new BridgeError('SOURCE_PROTOCOL', `COPY sent ${what}`)
}
