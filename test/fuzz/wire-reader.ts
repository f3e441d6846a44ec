import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { bodyFrames, copiedBody_bytes_max, publishRoom_bytes, writePublish } from '../../src/sink/publish-frames.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'
import { mustHold } from './fuzz-target.ts'

/** One publish as a consumer's library reads it from the wire. */
export interface WirePublish {
  readonly method: Readonly<Record<string, unknown>>
  readonly properties: Readonly<Record<string, unknown>>
  readonly body: Buffer
}

interface Frame {
  readonly payload: Buffer
  readonly rest: Buffer
}

interface Decoded {
  readonly fields?: Readonly<Record<string, unknown>>
  readonly content?: Buffer
  readonly size?: number
}

const require = createRequire(import.meta.url)
const {
  parseFrame,
  decodeFrame,
}: { parseFrame(bytes: Buffer, max: number): Frame; decodeFrame(frame: Frame): Decoded } = require(
  join(dirname(require.resolve('amqplib')), 'lib', 'frame.js'),
)

const frame_bytes_max = 131_072
const bytes = Buffer.alloc(publishRoom_bytes(64 * 1024))

/** Writes a message with the bridge's encoder and reads it with amqplib's decoder. Throws what either throws. */
export function throughTheWire(message: OutboundMessage): WirePublish {
  const end = writePublish(bytes, 0, 1, message, frame_bytes_max)
  mustHold(end <= bytes.length, 'the frames take more room than is set aside for them')
  const large = message.body.length > copiedBody_bytes_max ? bodyFrames(1, message.body, frame_bytes_max) : []
  let rest = Buffer.concat([bytes.subarray(0, end), ...large])
  const decoded: Decoded[] = []
  while (rest.length > 0) {
    const frame = parseFrame(rest, frame_bytes_max)
    decoded.push(decodeFrame(frame))
    rest = Buffer.from(frame.rest)
  }
  const [method, header, ...parts] = decoded
  const body = Buffer.concat(parts.map(({ content }) => content ?? Buffer.alloc(0)))
  mustHold(
    header?.size === body.length,
    () => `the header speaks of ${header?.size} bytes, the body has ${body.length}`,
  )
  return { method: method?.fields ?? {}, properties: header.fields ?? {}, body }
}
