const backslash = 0x5c
const letterX = 0x78
const hexChunk_chars = 1024 * 1024

/**
 * Size in bytes of what a bytea's text form stands for. Both output formats are read, because `bytea_output` may be set
 * for the role or the database. Source: PostgreSQL documentation, "Binary Data Types", 8.4.
 */
export function byteaSize(text: Buffer): number {
  if (isHex(text)) return (text.length - 2) >> 1
  let size = 0
  for (let at = 0; at < text.length; size++) at += escapeLength(text, at)
  return size
}

/** The raw bytes of a bytea's text form: `\x6869` or the older `hi\000`. */
export function decodeBytea(text: Buffer): Buffer {
  const raw = Buffer.allocUnsafe(byteaSize(text))
  if (isHex(text)) {
    // In pieces, because the text of a large bytea is longer than the longest string.
    for (let at = 2; at < text.length; at += hexChunk_chars) {
      raw.write(text.toString('latin1', at, at + hexChunk_chars), (at - 2) >> 1, 'hex')
    }
    return raw
  }
  for (let at = 0, to = 0; at < text.length; to++) {
    const length = escapeLength(text, at)
    raw[to] = length === 4 ? Number.parseInt(text.toString('latin1', at + 1, at + 4), 8) : text[at]!
    at += length
  }
  return raw
}

// In the escape format a backslash is always doubled or followed by digits, so this prefix is unambiguous.
function isHex(text: Buffer): boolean {
  return text[0] === backslash && text[1] === letterX
}

function escapeLength(text: Buffer, at: number): 1 | 2 | 4 {
  if (text[at] !== backslash) return 1
  return text[at + 1] === backslash ? 2 : 4
}
