import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { HeaderTable } from '../../src/routing/headers.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'

/** What amqplib does with a publish, without a connection: its own mapping of options and its own encoder. */
interface Codec {
  encodeTable(buffer: Buffer, table: object, offset: number): number
  decodeFields(slice: Buffer): Record<string, unknown>
}
interface Definitions {
  readonly BasicPublish: number
  readonly BasicProperties: number
  encodeMethod(method: number, channel: number, fields: object): Buffer
  encodeProperties(properties: number, channel: number, size: number, fields: object): Buffer
}
interface Arguments {
  publish(exchange: string, routingKey: string, options: object): object
}

const require = createRequire(import.meta.url)
const lib = join(dirname(require.resolve('amqplib')), 'lib')
const codec: Codec = require(join(lib, 'codec.js'))
const definitions: Definitions = require(join(lib, 'defs.js'))
const publishArguments: Arguments = require(join(lib, 'api_args.js'))

/** The method frame and the properties frame of a publish on channel 1. Throws what amqplib throws. */
export function encodePublish(message: OutboundMessage): { method: Buffer; properties: Buffer } {
  const fields = publishArguments.publish(message.exchange, message.routingKey, message.properties)
  return {
    method: Buffer.from(definitions.encodeMethod(definitions.BasicPublish, 1, fields)),
    properties: Buffer.from(definitions.encodeProperties(definitions.BasicProperties, 1, message.body.length, fields)),
  }
}

/** A header table as it goes onto the wire, its four bytes of length first. */
export function encodeHeaders(headers: HeaderTable): Buffer {
  const buffer = Buffer.alloc(1024 * 1024)
  return Buffer.from(buffer.subarray(0, codec.encodeTable(buffer, headers, 0)))
}

export function decodeHeaders(encoded: Buffer): Record<string, unknown> {
  return codec.decodeFields(encoded.subarray(4))
}

/** Sixteen bytes a line, in hexadecimal and as text; `*` stands for lines like the one before. */
export function hexDump(bytes: Buffer): string {
  const lines: string[] = []
  let before = ''
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16)
    const hex = line.toString('hex').replaceAll(/(..)(?=.)/g, '$1 ')
    const text = line.toString('latin1').replaceAll(/[^ -~]/g, '.')
    if (hex !== before) lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`)
    else if (lines.at(-1) !== '*') lines.push('*')
    before = hex
  }
  return `${[...lines, bytes.length.toString(16).padStart(6, '0')].join('\n')}\n`
}
