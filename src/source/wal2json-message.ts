import { BridgeError } from '../base/errors.ts'

export interface JsonColumn {
  readonly name: string
  readonly typeoid: number
  readonly value: string | number | boolean | null
}

/** One line of format-version 2. `lsn` and `nextlsn` of B and C are the commit LSN and the end LSN. */
export type JsonMessage =
  | { readonly action: 'B'; readonly lsn: string; readonly timestamp: string }
  | { readonly action: 'C'; readonly lsn: string; readonly nextlsn: string }
  | JsonInsert
  | { readonly action: 'D' | 'M' | 'T' | 'U' }

export interface JsonInsert {
  readonly action: 'I'
  readonly schema: string
  readonly table: string
  readonly columns: readonly JsonColumn[]
}

/**
 * Reads one line and checks its form: a field that is missing would otherwise be taken for another table's row, or go
 * out as the text "undefined". Throws a BridgeError SOURCE_PROTOCOL.
 */
export function parseMessage(json: string): JsonMessage {
  const message = parseJson(json)
  if (isTable(message)) {
    const { action, lsn, nextlsn, timestamp, schema, table, columns } = message
    switch (action) {
      case 'I':
        if (isText(schema) && isText(table) && isColumns(columns)) return { action, schema, table, columns }
        break
      case 'B':
        if (isText(lsn) && isText(timestamp)) return { action, lsn, timestamp }
        break
      case 'C':
        if (isText(lsn) && isText(nextlsn)) return { action, lsn, nextlsn }
        break
      case 'D':
      case 'M':
      case 'T':
      case 'U':
        return { action }
      default:
        throw protocolError(`the action ${JSON.stringify(action)}, expected one of B C D I M T U`)
    }
    throw protocolError(`a message ${action} without the fields of format version 2`)
  }
  throw protocolError('a line that is not a JSON object')
}

export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    // The text is the application's data: not in messages, nor by way of the cause, which quotes it.
    throw protocolError(
      `${json.length} characters that are not JSON (${error instanceof Error ? error.name : 'error'})`,
    )
  }
}

export function protocolError(what: string): BridgeError {
  return new BridgeError('SOURCE_PROTOCOL', `wal2json sent ${what}`)
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isColumns(value: unknown): value is readonly JsonColumn[] {
  return Array.isArray(value) && value.every(isColumn)
}

function isColumn(column: unknown): column is JsonColumn {
  if (!isTable(column)) return false
  const { name, typeoid, value } = column
  return (
    isText(name) && typeof typeoid === 'number' && (value === null || /^(string|number|boolean)$/.test(typeof value))
  )
}
