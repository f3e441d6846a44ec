/**
 * Writes `text` as UTF-8 and returns the offset behind it. Most texts here are short and ASCII: a loop is faster than a
 * call into the runtime. Throws a RangeError when there is no room.
 */
export function writeText(bytes: Buffer, at: number, text: string): number {
  const length = text.length
  if (length > 64 || at + length > bytes.length) return writeLongText(bytes, at, text)
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return writeLongText(bytes, at, text)
    bytes[at + i] = code
  }
  return at + length
}

/** Buffer.write() cuts off what has no room, silently: so look first. */
function writeLongText(bytes: Buffer, at: number, text: string): number {
  const size = Buffer.byteLength(text, 'utf8')
  if (at + size > bytes.length) throw new RangeError(`a text of ${size} bytes does not fit into a publish`)
  return at + bytes.write(text, at, 'utf8')
}

/** Writes an AMQP short string. Throws a RangeError above 255 bytes. */
export function writeShortString(bytes: Buffer, at: number, text: string): number {
  const end = writeText(bytes, at + 1, text)
  const length = end - at - 1
  if (length > 255) throw new RangeError(`a short string takes ${length} bytes; at most 255 can be sent`)
  bytes[at] = length
  return end
}
