/**
 * The name of a column, or several of which the first that a row has is read: a renamed column keeps its old name in the
 * rows that were written before, and the stream brings both kinds.
 */
export type ColumnNames = string | readonly string[]

/** Logical name → column of the outbox table. An optional one that is null or absent is not mapped. */
export interface ColumnMap {
  readonly id: ColumnNames
  readonly aggregate_type: ColumnNames
  readonly aggregate_id: ColumnNames
  readonly type: ColumnNames
  readonly payload: ColumnNames
  readonly headers?: ColumnNames | null | undefined
  readonly created_at?: ColumnNames | null | undefined
  readonly transaction_id?: ColumnNames | null | undefined
  readonly exchange?: ColumnNames | null | undefined
  readonly routing_key?: ColumnNames | null | undefined
  readonly content_type?: ColumnNames | null | undefined
  readonly correlation_id?: ColumnNames | null | undefined
  readonly expiration?: ColumnNames | null | undefined
  readonly priority?: ColumnNames | null | undefined
}

export type LogicalColumn = keyof ColumnMap

export const logicalColumns = [
  'id',
  'aggregate_type',
  'aggregate_id',
  'type',
  'payload',
  'headers',
  'created_at',
  'transaction_id',
  'exchange',
  'routing_key',
  'content_type',
  'correlation_id',
  'expiration',
  'priority',
] as const satisfies readonly LogicalColumn[]

/** The tables that need no map: our own, and the one made for Debezium's outbox event router. */
export const columnPresets = {
  default: {
    id: 'id',
    aggregate_type: 'aggregate_type',
    aggregate_id: 'aggregate_id',
    type: 'type',
    payload: 'payload',
    headers: 'headers',
    created_at: 'created_at',
    transaction_id: 'transaction_id',
  },
  debezium: {
    id: 'id',
    aggregate_type: 'aggregatetype',
    aggregate_id: 'aggregateid',
    type: 'type',
    payload: 'payload',
  },
} as const satisfies Record<string, ColumnMap>

export type ColumnPreset = keyof typeof columnPresets

/** A preset's name, or names laid over the default preset; null takes an optional column out of the map. */
export type ColumnSetting = ColumnPreset | { readonly [name in LogicalColumn]?: ColumnMap[name] | undefined }

export function resolveColumns(setting: ColumnSetting): ColumnMap {
  if (typeof setting === 'string') return columnPresets[setting]
  const named = Object.entries(setting).filter(([, column]) => column !== undefined)
  return { ...columnPresets.default, ...Object.fromEntries(named) }
}

/** The names that a logical column may have in the table, in the order they are tried; none for one that is not mapped. */
export function namesOf(column: ColumnMap[LogicalColumn]): readonly string[] {
  if (column === null || column === undefined) return []
  return typeof column === 'string' ? [column] : column
}
