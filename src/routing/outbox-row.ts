import { BridgeError } from '../base/errors.ts'
import type { SourceRelation } from '../source/source.ts'
import { type ColumnMap, type LogicalColumn, logicalColumns, namesOf } from './column-map.ts'

/** Where each logical column stands in the rows of one relation; -1 for one that is not mapped. */
export interface RowReader {
  /** `schema.table`, for messages. */
  readonly table: string
  readonly index: Readonly<Record<LogicalColumn, number>>
  readonly payload: PayloadForm
}

/** How a payload column's text form becomes a body. */
export interface PayloadForm {
  readonly contentType: string
  /** The text form is an encoding of raw bytes. */
  readonly bytea: boolean
}

const json: PayloadForm = { contentType: 'application/json', bytea: false }
const text: PayloadForm = { contentType: 'text/plain; charset=utf-8', bytea: false }
const bytea: PayloadForm = { contentType: 'application/octet-stream', bytea: true }

const payloadForms: ReadonlyMap<string, PayloadForm> = new Map([
  ['json', json],
  ['jsonb', json],
  ['text', text],
  ['varchar', text],
  ['bpchar', text],
  ['bytea', bytea],
])

// A column of any other type would turn every row into a dead letter (headers) or be silently ignored (created_at).
const acceptedTypes: Partial<Record<LogicalColumn, readonly string[]>> = {
  payload: [...payloadForms.keys()],
  headers: ['jsonb', 'json', 'text', 'varchar', 'bpchar'],
  created_at: ['timestamptz', 'timestamp'],
}

/**
 * Resolves the map against a description of the table: the catalog's, or with `commitLsn` (`16/B374D848`) the one that
 * the stream gave for a row of that transaction, which may be older than the catalog's. Of several names of a column the
 * first that is there serves. Throws a BridgeError `COLUMN_MISSING` for a mapped column of which there is none,
 * `COLUMN_TYPE` for one whose type cannot serve.
 */
export function compileReader(relation: SourceRelation, map: ColumnMap, commitLsn?: string): RowReader {
  const table = `${relation.schema}.${relation.table}`
  const index = Object.fromEntries(
    logicalColumns.map((logical) => [logical, findColumn(relation, table, logical, namesOf(map[logical]), commitLsn)]),
  ) as Record<LogicalColumn, number>
  const payloadType = relation.columns[index.payload]!.type
  return { table, index, payload: payloadForms.get(payloadType)! }
}

function findColumn(
  relation: SourceRelation,
  table: string,
  logical: LogicalColumn,
  names: readonly string[],
  commitLsn: string | undefined,
): number {
  if (names.length === 0) return -1
  const column = names.find((name) => relation.columns.some((candidate) => candidate.name === name))
  if (column === undefined) throw columnMissing(relation, table, logical, names, commitLsn)
  const index = relation.columns.findIndex((candidate) => candidate.name === column)
  const { type } = relation.columns[index]!
  const accepted = acceptedTypes[logical]
  if (accepted !== undefined && !accepted.includes(type)) {
    throw new BridgeError(
      'COLUMN_TYPE',
      `column ${JSON.stringify(column)} of table ${table} is of type ${type}; as ${logical} it must be one of ${accepted.join(', ')}`,
    )
  }
  return index
}

function columnMissing(
  relation: SourceRelation,
  table: string,
  logical: LogicalColumn,
  names: readonly string[],
  commitLsn: string | undefined,
): BridgeError {
  const wanted = `${names.map((name) => JSON.stringify(name)).join(' or ')}, which source.columns maps as ${logical}`
  const present = relation.columns.map((candidate) => JSON.stringify(candidate.name)).join(', ') || 'none'
  return new BridgeError(
    'COLUMN_MISSING',
    commitLsn === undefined
      ? `table ${table} has no column ${wanted}; its published columns are ${present}`
      : `a row of table ${table}, committed at ${commitLsn}, has no column ${wanted}; when it was written the published columns were ${present}`,
  )
}
