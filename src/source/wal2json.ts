import { formatLsn, parseLsn } from '../base/lsn.ts'
import type { TableName } from '../base/sql.ts'
import { parseCommitTime } from './commit-time.ts'
import { quoteNumbers } from './json-numbers.ts'
import type { SourceColumn, SourceRelation } from './source.ts'
import { typeName } from './type-name.ts'
import type { DecodedStream, WalDecoder } from './wal-decoder.ts'
import { TextTuple } from './wal-tuple.ts'
import { type JsonInsert, parseJson, parseMessage, protocolError } from './wal2json-message.ts'

/**
 * Decodes wal2json, format version 2: one JSON document a row (version 1 builds one a transaction, and fails at 1 GB).
 * Rows of a partitioned table come under the partition's name, so such an outbox needs pgoutput. NaN and infinite
 * numbers come as null.
 * Source: https://github.com/eulerto/wal2json
 */
export class Wal2jsonDecoder implements WalDecoder {
  readonly plugin = 'wal2json'
  readonly options: ReadonlyArray<readonly [string, string]>
  readonly convertsEncoding = false
  readonly #table: TableName
  #relation: SourceRelation | undefined

  constructor(options: { readonly table: TableName }) {
    this.#table = options.table
    this.options = [
      ['format-version', '2'],
      ['include-transaction', 'true'],
      ['include-xids', 'true'],
      ['include-lsn', 'true'],
      ['include-timestamp', 'true'],
      ['include-types', 'true'],
      ['include-type-oids', 'true'],
      ['actions', 'insert'],
      ['add-tables', `${escapeName(options.table.schema)}.${escapeName(options.table.name)}`],
    ]
  }

  decode(payload: Buffer, into: DecodedStream): void {
    const json = payload.toString('utf8')
    const message = parseMessage(json)
    switch (message.action) {
      case 'I':
        if (message.table !== this.#table.name || message.schema !== this.#table.schema) into.ignored()
        else into.row(this.#relationOf(message), new TextTuple(columnTexts(message, json)))
        break
      case 'B': {
        const commitLsn = parseLsn(message.lsn)
        const time = parseCommitTime(message.timestamp)
        if (time === undefined) {
          throw protocolError(`the commit time ${JSON.stringify(message.timestamp)}, expected one in UTC (+00)`)
        }
        into.begin({
          commitLsn,
          commitLsnText: formatLsn(commitLsn),
          committedAt: time.text,
          committedAtSeconds: time.seconds,
        })
        break
      }
      case 'C':
        into.commit(parseLsn(message.lsn), parseLsn(message.nextlsn))
        break
      case 'U':
      case 'D':
      case 'T':
      case 'M':
        into.ignored()
        break
    }
  }

  /** Each row describes itself: a new relation only when that description changes. */
  #relationOf(message: JsonInsert): SourceRelation {
    const types = message.columns.map((column): SourceColumn => ({ name: column.name, type: typeName(column.typeoid) }))
    const known = this.#relation?.columns
    const same =
      known?.length === types.length &&
      known.every((column, index) => column.name === types[index]!.name && column.type === types[index]!.type)
    if (this.#relation === undefined || !same) {
      this.#relation = { schema: message.schema, table: message.table, columns: types }
    }
    return this.#relation
  }
}

/** The text forms of the columns, as PostgreSQL prints them. */
function columnTexts(message: JsonInsert, json: string): Array<string | null> {
  // A double cannot hold every int8 and numeric: read the digits as they stand.
  const hasNumber = message.columns.some((column) => typeof column.value === 'number')
  const digits = hasNumber ? (parseJson(quoteNumbers(json)) as JsonInsert).columns : message.columns
  return message.columns.map(({ value, typeoid }, index) => {
    if (value === null) return null
    if (typeof value === 'boolean') return value ? 't' : 'f'
    if (typeof value === 'number') return String(digits[index]!.value)
    return typeoid === 17 ? `\\x${value}` : value // wal2json leaves out the \x
  })
}

/** In `add-tables` a backslash makes the next character literal. */
function escapeName(name: string): string {
  return name.replaceAll(/[^\w\u0080-\uffff]/g, '\\$&')
}
