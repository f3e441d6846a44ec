import { BridgeError } from '../base/errors.ts'
import type { HeaderValue, MessageProperties, OutboundMessage } from '../sink/sink.ts'
import { asciiJson } from './ascii-json.ts'

type Headers = MessageProperties['headers']
type Stored = string | number | boolean | null | Stored[] | { [name: string]: Stored }

/**
 * A message without its body as JSON, of which the very same AMQP frames can be made again. A header value in amqplib's
 * typed form, `{ "!": "int64", "value": … }`, keeps that form with its number as text: JSON's numbers are doubles and
 * have no -0. A number that JSON has no word for takes the same way, as type `number`.
 */
export function encodeMessage({ exchange, routingKey, properties }: Omit<OutboundMessage, 'body'>): string {
  return asciiJson({ exchange, routingKey, ...properties, headers: encodeTable(properties.headers) })
}

/** The opposite. Throws a BridgeError `EVENT_INVALID` for what encodeMessage() never wrote. */
export function decodeMessage(text: string, body: Buffer): OutboundMessage {
  const stored: unknown = JSON.parse(text)
  if (!isTable(stored)) throw unreadable('an object')
  const { headers, correlationId, expiration, priority } = stored
  if (!isTable(headers)) throw unreadable('headers')
  return {
    exchange: textOf(stored, 'exchange'),
    routingKey: textOf(stored, 'routingKey'),
    body,
    properties: {
      messageId: textOf(stored, 'messageId'),
      type: textOf(stored, 'type'),
      contentType: textOf(stored, 'contentType'),
      timestamp: Number(stored.timestamp),
      appId: textOf(stored, 'appId'),
      persistent: true,
      mandatory: true,
      headers: decodeTable(headers),
      ...(typeof correlationId === 'string' && { correlationId }),
      ...(typeof expiration === 'string' && { expiration }),
      ...(typeof priority === 'number' && { priority }),
    },
  }
}

function encodeTable(table: Headers): Stored {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, encodeValue(value)]))
}

function encodeValue(value: HeaderValue): Stored {
  if (typeof value === 'number') return encodeNumber(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(encodeValue)
  return isTyped(value) ? encodeTyped(value) : encodeTable(plainTable(value))
}

function encodeNumber(value: number): Stored {
  return Number.isFinite(value) && !Object.is(value, -0) ? value : typed('number', numberText(value))
}

/** A table with a key `!` of its own always comes as amqplib's typed form, so this key means that form. */
function encodeTyped(value: { readonly '!': unknown; readonly value?: unknown }): Stored {
  const content = value.value
  if (value['!'] === 'int64' && typeof content === 'bigint') return typed('int64', content.toString())
  if (value['!'] === 'double' && typeof content === 'number') return typed('double', numberText(content))
  if (value['!'] === 'object' && isHeaders(content)) return typed('object', encodeTable(content))
  throw unreadable(`a header value of type ${JSON.stringify(value['!'])}`)
}

function decodeTable(table: { [name: string]: Stored }): Headers {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, decodeValue(value)]))
}

function decodeValue(value: Stored): HeaderValue {
  if (Array.isArray(value)) return value.map(decodeValue)
  if (!isTable(value)) return value
  if (!Object.hasOwn(value, '!')) return decodeTable(value)
  const content = value.value
  switch (value['!']) {
    case 'int64':
      return { '!': 'int64', value: BigInt(String(content)) }
    case 'double':
      return { '!': 'double', value: Number(content) }
    case 'number':
      return Number(content)
    case 'object':
      if (isTable(content)) return { '!': 'object', value: decodeTable(content) }
  }
  throw unreadable(`a header value of type ${JSON.stringify(value['!'])}`)
}

function typed(name: string, value: Stored): Stored {
  return { '!': name, value }
}

function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function isTyped(value: object): value is { readonly '!': unknown; readonly value?: unknown } {
  return Object.hasOwn(value, '!')
}

function isHeaders(value: unknown): value is Headers {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTable(value: unknown): value is { [name: string]: Stored } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Narrows a header value that is known to be neither an array nor typed. */
function plainTable(value: object): Headers {
  if (!isHeaders(value)) throw unreadable('a table')
  return value
}

function textOf(stored: { [name: string]: Stored }, name: string): string {
  const value = stored[name]
  if (typeof value !== 'string') throw unreadable(name)
  return value
}

function unreadable(what: string): BridgeError {
  return new BridgeError('EVENT_INVALID', `the properties kept with a dead letter cannot be read: expected ${what}`)
}
