import { writeTable } from './field-table.ts'
import { writeShortString } from './short-text.ts'
import type { OutboundMessage } from './sink.ts'

/** Bytes of a body from which on it is sent as it lies in memory instead of being copied beside its headers. */
export const copiedBody_bytes_max = 16 * 1024

const frameEnd = 0xce
const frameOverhead_bytes = 8
const basicPublish = 0x003c_0028
const basicClass = 0x003c_0000
/** Frames, ids, flags and short strings of one publish, all at their longest. */
const fixed_bytes_max = 3 * 1024

const flags = {
  contentType: 0x8000,
  headers: 0x2000,
  deliveryMode: 0x1000,
  priority: 0x0800,
  correlationId: 0x0400,
  expiration: 0x0100,
  messageId: 0x0080,
  timestamp: 0x0040,
  type: 0x0020,
  appId: 0x0008,
} as const

/** Room that writePublish() needs at most, for header tables up to `table_bytes`. */
export function publishRoom_bytes(table_bytes: number): number {
  return fixed_bytes_max + table_bytes + copiedBody_bytes_max
}

/**
 * Writes the method and the header frame of a persistent, mandatory publish, and the body frame unless the body is
 * larger than `copiedBody_bytes_max`. Returns the offset behind them. Throws a RangeError for what one frame cannot
 * hold; what was written then counts for nothing. amqplib encodes the same bytes, at three buffers a message.
 * Source: AMQP 0-9-1 specification, 2.3.5 and 4.2.
 */
export function writePublish(
  bytes: Buffer,
  start: number,
  channel: number,
  message: OutboundMessage,
  frame_bytes_max: number,
): number {
  let at = writeFrameStart(bytes, start, 1, channel)
  at = bytes.writeUInt32BE(basicPublish, at)
  at = bytes.writeUInt16BE(0, at)
  at = writeShortString(bytes, at, message.exchange)
  at = writeShortString(bytes, at, message.routingKey)
  bytes[at++] = 1 // mandatory
  at = closeFrame(bytes, start, at)

  const header = at
  at = writeFrameStart(bytes, header, 2, channel)
  at = bytes.writeUInt32BE(basicClass, at)
  at = bytes.writeUInt32BE(0, at)
  at = bytes.writeUInt32BE(message.body.length, at)
  at = closeFrame(bytes, header, writeProperties(bytes, at, message))
  if (at - header > frame_bytes_max) {
    throw new RangeError(
      `its properties take a frame of ${at - header} bytes; the broker takes ${frame_bytes_max} (frame_max)`,
    )
  }
  const { body } = message
  if (body.length === 0 || body.length > copiedBody_bytes_max) return at
  for (let from = 0; from < body.length; ) {
    const frame = at
    const size = Math.min(body.length - from, frame_bytes_max - frameOverhead_bytes)
    at = writeFrameStart(bytes, frame, 3, channel)
    at += body.copy(bytes, at, from, from + size)
    at = closeFrame(bytes, frame, at)
    from += size
  }
  return at
}

/** The frames of a large body, without copying it. */
export function bodyFrames(channel: number, body: Buffer, frame_bytes_max: number): Buffer[] {
  const parts: Buffer[] = []
  const size_max = frame_bytes_max - frameOverhead_bytes
  for (let from = 0; from < body.length; from += size_max) {
    const part = body.subarray(from, from + size_max)
    const start = Buffer.alloc(7)
    start[0] = 3
    start.writeUInt16BE(channel, 1)
    start.writeUInt32BE(part.length, 3)
    parts.push(start, part, Buffer.of(frameEnd))
  }
  return parts
}

function writeProperties(bytes: Buffer, start: number, message: OutboundMessage): number {
  const { contentType, headers, priority, correlationId, expiration, messageId, timestamp, type, appId } =
    message.properties
  let present =
    flags.contentType |
    flags.headers |
    flags.deliveryMode |
    flags.messageId |
    flags.timestamp |
    flags.type |
    flags.appId
  let at = writeShortString(bytes, start + 2, contentType)
  at = writeTable(bytes, at, headers)
  bytes[at++] = 2 // persistent
  if (priority !== undefined) {
    present |= flags.priority
    bytes[at++] = priority
  }
  if (correlationId !== undefined) {
    present |= flags.correlationId
    at = writeShortString(bytes, at, correlationId)
  }
  if (expiration !== undefined) {
    present |= flags.expiration
    at = writeShortString(bytes, at, expiration)
  }
  at = writeShortString(bytes, at, messageId)
  at = bytes.writeUInt32BE(Math.floor(timestamp / 0x1_0000_0000), at)
  at = bytes.writeUInt32BE(timestamp % 0x1_0000_0000, at)
  at = writeShortString(bytes, at, type)
  at = writeShortString(bytes, at, appId)
  bytes.writeUInt16BE(present, start)
  return at
}

/** Type and channel; the size is known, and written, at the end. */
function writeFrameStart(bytes: Buffer, at: number, type: number, channel: number): number {
  bytes[at] = type
  bytes[at + 1] = channel >> 8
  bytes[at + 2] = channel & 0xff
  return at + 7
}

function closeFrame(bytes: Buffer, start: number, at: number): number {
  bytes.writeUInt32BE(at - start - 7, start + 3)
  bytes[at] = frameEnd
  return at + 1
}
