import { BridgeError } from '../base/errors.ts'
import { quoteIdent, quoteLiteral, type TableName } from '../base/sql.ts'
import type { SourceTuple } from './source.ts'
import type { TableColumn } from './table.ts'

/** An outbox table as it is to be read: what of it the stream would have. */
export interface ReadableTable {
  readonly table: TableName
  readonly partitioned: boolean
  /** The published columns in the order of the table, generated ones left out. */
  readonly columns: readonly TableColumn[]
  /** The names of two of them in this table; undefined when it has none. */
  readonly createdAt: string | undefined
  readonly transactionId: string | undefined
  /** The condition of the publication: other rows are another bridge's. */
  readonly rowFilter: string | undefined
}

interface OrderColumn {
  readonly column: TableColumn
  readonly index: number
  /** What stands for NULL, which comes first. */
  readonly lowest: string
  /** Never NULL: a comparison of rows with NULL would be none. */
  readonly sql: string
}

/**
 * The order in which the rows of a table are published again: by created_at, then transaction_id, then place in the table.
 *
 * Events of one aggregate are in order by created_at, which is clock_timestamp() at the insert: two transactions that
 * write about one aggregate serialise on its row lock, so the second inserts after the first has committed. Transaction
 * ids say less: the second may have got its own before it waited for the lock. So the order holds where created_at is the
 * time of the insert and the clock does not go back. It can differ with now() (the start of the transaction), and without
 * the column, where transaction_id is all there is.
 */
export class TableOrder {
  readonly #partitioned: boolean
  readonly #columns: readonly OrderColumn[]

  /** Throws a BridgeError COLUMN_TYPE for a column whose type has no such order. */
  constructor(table: ReadableTable) {
    this.#partitioned = table.partitioned
    this.#columns = [
      ...orderColumn(table, table.createdAt, '-infinity', ['timestamptz', 'timestamp']),
      ...orderColumn(table, table.transactionId, '0', ['xid8', 'int8']),
    ]
  }

  /** False: there is neither column, and only where a row lies is left. Updated rows have moved, and space is used again. */
  get isKnown(): boolean {
    return this.#columns.length > 0
  }

  get sql(): string {
    const place = this.#partitioned ? ['tableoid', 'ctid'] : ['ctid']
    return [...this.#columns.map(({ sql }) => sql), ...place].join(', ')
  }

  /**
   * Where a row stands, as JSON: `{"created_at":"2026-01-31 23:59:59.1+00","transaction_id":"745"}`. Its place in the table
   * is left out, because an UPDATE changes that: a read that goes on from here repeats the rows of one transaction and one
   * time rather than miss one.
   */
  keyOf(tuple: SourceTuple): string {
    return JSON.stringify(
      Object.fromEntries(this.#columns.map(({ column, index }) => [column.name, tuple.text(index)])),
    )
  }

  /** The condition of a read that goes on at `key`. Throws a BridgeError POSITION_UNKNOWN for a key of another order. */
  fromSql(key: string): string {
    const values = readKey(key)
    const names = this.#columns.map(({ column }) => column.name)
    if (values === undefined || names.toSorted().join('\0') !== Object.keys(values).toSorted().join('\0')) {
      const expected = JSON.stringify(Object.fromEntries(names.map((name) => [name, '…'])))
      throw new BridgeError(
        'POSITION_UNKNOWN',
        `${JSON.stringify(key)} is no place in this table, expected ${expected}`,
      )
    }
    if (names.length === 0) return 'true'
    const left = this.#columns.map(({ sql }) => sql).join(', ')
    const right = this.#columns.map(({ column, lowest }) => literal(values[column.name] ?? lowest, column)).join(', ')
    return `(${left}) >= (${right})`
  }
}

/** A value of the type of a column, so that an index on it can be used. */
export function literal(text: string, column: TableColumn): string {
  return `${quoteLiteral(text)}::${column.type}`
}

function orderColumn(
  table: ReadableTable,
  name: string | undefined,
  lowest: string,
  types: readonly string[],
): OrderColumn[] {
  if (name === undefined) return []
  const index = table.columns.findIndex((column) => column.name === name)
  const column = table.columns[index]
  if (column === undefined || !types.includes(column.type)) {
    const found = column === undefined ? 'missing' : `of type ${column.type}`
    throw new BridgeError(
      'COLUMN_TYPE',
      `column ${JSON.stringify(name)} of table ${table.table.schema}.${table.table.name} is ${found}; to read the table in order it must be one of ${types.join(', ')}`,
    )
  }
  const quoted = quoteIdent(name)
  const sql = column.notNull ? quoted : `coalesce(${quoted}, ${literal(lowest, column)})`
  return [{ column, index, lowest, sql }]
}

function readKey(key: string): Record<string, string | null> | undefined {
  let read: unknown
  try {
    read = JSON.parse(key)
  } catch {
    // Said by the caller, together with what was expected.
    return undefined
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read)) return undefined
  const areTexts = Object.values(read).every((value) => value === null || typeof value === 'string')
  return areTexts ? (read as Record<string, string | null>) : undefined
}
