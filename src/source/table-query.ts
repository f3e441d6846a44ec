import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import { utcMicroseconds } from '../base/iso-time.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../base/sql.ts'
import type { TableColumn } from './table.ts'
import { literal, type ReadableTable, TableOrder } from './table-order.ts'

/** Which rows. All that is given must hold; a row whose column is NULL is in every range of that column. */
export interface TableRange {
  /** A pg_snapshot, `742:751:745,748`: rows whose transaction it does not see. Needs transaction_id, as does visibleIn. */
  readonly notVisibleIn?: string | undefined
  /** Rows whose transaction this snapshot sees. */
  readonly visibleIn?: string | undefined
  /** ISO 8601. Needs created_at, as does createdBefore. A row of a transaction that was open for long can lie before. */
  readonly createdFrom?: string | undefined
  readonly createdBefore?: string | undefined
  /** What TableOrder.keyOf() gave for a row: this row, those with an equal key, and all that come after them. */
  readonly after?: string | undefined
  /** Columns and the values that are wanted. Left to the reader where the type of the column has other texts. */
  readonly only?: ReadonlyArray<{ readonly column: string; readonly values: readonly string[] }> | undefined
}

/** Types whose values are equal when their texts are. */
const textTypes = ['text', 'varchar', 'uuid', 'int2', 'int4', 'int8']

/** `COPY (SELECT …) TO STDOUT`. Throws a BridgeError REPLAY_OUT_OF_REACH when the table lacks what the range needs. */
export function copyTableSql(table: ReadableTable, range: TableRange): string {
  const columns = table.columns.map(({ name }) => quoteIdent(name)).join(', ')
  return `COPY (SELECT ${columns} ${rowsSql(table, range)} ORDER BY ${new TableOrder(table).sql}) TO STDOUT`
}

/** `SELECT count(*)::text AS rows …` of the same rows. Throws as copyTableSql() does. */
export function countTableSql(table: ReadableTable, range: TableRange): string {
  return `SELECT count(*)::text AS rows ${rowsSql(table, range)}`
}

/** The stream names the rows of partitions after their root, but those of inheriting tables after these. */
function rowsSql(table: ReadableTable, range: TableRange): string {
  const from = `FROM ${table.partitioned ? '' : 'ONLY '}${quoteTable(table.table)}`
  const conditions = conditionsOf(table, range)
  return conditions.length === 0 ? from : `${from} WHERE ${conditions.map((one) => `(${one})`).join(' AND ')}`
}

function conditionsOf(table: ReadableTable, range: TableRange): string[] {
  const { notVisibleIn, visibleIn, createdFrom, createdBefore, after, only = [] } = range
  return [
    ...(table.rowFilter === undefined ? [] : [table.rowFilter]),
    ...(notVisibleIn === undefined ? [] : [visibilitySql(table, notVisibleIn, false)]),
    ...(visibleIn === undefined ? [] : [visibilitySql(table, visibleIn, true)]),
    ...(createdFrom === undefined ? [] : [timeSql(table, '>=', createdFrom)]),
    ...(createdBefore === undefined ? [] : [timeSql(table, '<', createdBefore)]),
    ...(after === undefined ? [] : [new TableOrder(table).fromSql(after)]),
    ...only.flatMap(({ column, values }) => valuesSql(table, column, values)),
  ]
}

/** The limits of the snapshot beside the question itself: an index on the column serves them. */
function visibilitySql(table: ReadableTable, snapshot: string, visible: boolean): string {
  const [, xmin, xmax] = /^(\d+):(\d+):[\d,]*$/.exec(snapshot) ?? []
  assert(xmin !== undefined && xmax !== undefined, () => `${JSON.stringify(snapshot)} is no pg_snapshot`)
  const column = neededColumn(table, 'transaction_id', table.transactionId)
  const name = quoteIdent(column.name)
  const seen = `pg_visible_in_snapshot(${column.type === 'xid8' ? name : `${name}::text::xid8`}, ${quoteLiteral(snapshot)})`
  const known = visible
    ? `${name} < ${literal(xmax, column)} AND ${seen}`
    : `${name} >= ${literal(xmin, column)} AND NOT ${seen}`
  return orNull(column, known)
}

function timeSql(table: ReadableTable, operator: '>=' | '<', time: string): string {
  const column = neededColumn(table, 'created_at', table.createdAt)
  const utc = utcMicroseconds(time)
  assert(utc !== undefined, () => `${JSON.stringify(time)} is no ISO 8601 time`)
  return orNull(column, `${quoteIdent(column.name)} ${operator} ${literal(utc, column)}`)
}

function valuesSql(table: ReadableTable, name: string, values: readonly string[]): string[] {
  const column = table.columns.find((one) => one.name === name)
  if (column === undefined || !textTypes.includes(column.type)) return []
  return [`${quoteIdent(name)}::text IN (${values.map(quoteLiteral).join(', ')})`]
}

function orNull(column: TableColumn, condition: string): string {
  return column.notNull ? condition : `${quoteIdent(column.name)} IS NULL OR ${condition}`
}

function neededColumn(table: ReadableTable, logical: string, name: string | undefined): TableColumn {
  const column = table.columns.find((one) => one.name === name)
  if (column !== undefined) return column
  throw new BridgeError(
    'REPLAY_OUT_OF_REACH',
    `table ${quoteTable(table.table)} has no column mapped as ${logical}, by which the rows of this range would be told`,
  )
}
