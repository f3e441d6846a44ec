import { BridgeError } from '../base/errors.ts'
import type { HeaderValue } from '../sink/sink.ts'
import { type ExactJson, parseExactJson } from './exact-json.ts'
import { isBridgeHeader, isBrokerHeader } from './reserved-headers.ts'
import { shortStringSize_max, shownName, tooLongAsShortString } from './short-string.ts'

export type HeaderTable = Record<string, HeaderValue>

/** Longest headers text that is looked into. No table under 64 KiB needs more: `\u0061` is six bytes for one. */
export const headersText_bytes_max = 1024 * 1024

/** Deepest nesting that is sent. amqplib's encoder recurses and ends in a stack overflow at some 3,000 levels. */
export const headerDepth_max = 100

/**
 * Reads the headers column's JSON into what amqplib encodes without loss. Names of the bridge are left out; null when
 * nothing remains to be said (`{}`). Throws a BridgeError `EVENT_INVALID` for what AMQP cannot carry, what is not an
 * object, and the broker's own names. Messages name headers and never quote values.
 */
export function readHeaders(text: string): HeaderTable | null {
  if (text === '{}') return null
  const parsed = parseObject(text)
  const names = Object.keys(parsed)
  if (names.length === 0) return null
  for (const name of names) {
    if (isBrokerHeader(name)) throw invalid(`header ${shownName(name)} is the broker's own and cannot be set by a row`)
    if (isBridgeHeader(name)) delete parsed[name]
    else carryField(parsed, name, 1)
  }
  return parsed as HeaderTable
}

/**
 * A number in the form that amqplib encodes right. Its guess fails for two kinds, both of which end in an exception: a
 * fraction of 2^50 or more and anything below -2^63. Unsafe integers written with a fraction or exponent stay doubles.
 */
export function carryNumber(value: number, name: string): HeaderValue {
  if (Number.isSafeInteger(value) || Math.abs(value) < 2 ** 50) return value
  if (!Number.isFinite(value)) throw invalid(`header ${shownName(name)} holds a number beyond the range of a double`)
  return { '!': 'double', value }
}

function parseObject(text: string): { [name: string]: ExactJson } {
  let parsed: ExactJson
  try {
    parsed = parseExactJson(text)
  } catch (cause) {
    throw new BridgeError('EVENT_INVALID', 'the headers column does not hold JSON; expected an object', { cause })
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    const found = parsed === null ? 'null' : Array.isArray(parsed) ? 'array' : typeof parsed
    throw invalid(`the headers column holds a JSON ${found}; expected an object`)
  }
  return parsed
}

// Assigns only to properties that exist, so that even `__proto__` never reaches the prototype's setter.
function carryField(table: { [name: string]: ExactJson | HeaderValue }, name: string, depth: number): void {
  if (tooLongAsShortString(name)) {
    throw invalid(
      `header name ${shownName(name)} is ${Buffer.byteLength(name)} bytes long; at most ${shortStringSize_max} fit`,
    )
  }
  const value = table[name] as ExactJson
  const carried = carry(value, name, depth)
  if (carried !== value) table[name] = carried
}

function carry(value: ExactJson, name: string, depth: number): HeaderValue {
  switch (typeof value) {
    case 'number':
      return carryNumber(value, name)
    case 'bigint':
      return { '!': 'int64', value }
    case 'object':
      return value === null ? null : carryNested(value, name, depth)
    default:
      return value
  }
}

function carryNested(value: ExactJson[] | { [name: string]: ExactJson }, name: string, depth: number): HeaderValue {
  if (depth >= headerDepth_max)
    throw invalid(`header ${shownName(name)} is nested deeper than ${headerDepth_max} levels`)
  if (Array.isArray(value)) return value.map((item) => carry(item, name, depth + 1))
  for (const field of Object.keys(value)) carryField(value, field, depth + 1)
  const table = value as HeaderTable
  // amqplib takes an object with this key for one of its typed values; typed as a table it is a key like any other.
  return Object.hasOwn(table, '!') ? { '!': 'object', value: table } : table
}

function invalid(message: string): BridgeError {
  return new BridgeError('EVENT_INVALID', message)
}
