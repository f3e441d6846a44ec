/** Logical name → column of the outbox table. An optional one that is null or absent is not mapped. */
export interface ColumnMap {
  readonly id: string
  readonly aggregate_type: string
  readonly aggregate_id: string
  readonly type: string
  readonly payload: string
  readonly headers?: string | null | undefined
  readonly created_at?: string | null | undefined
  readonly transaction_id?: string | null | undefined
  readonly exchange?: string | null | undefined
  readonly routing_key?: string | null | undefined
  readonly content_type?: string | null | undefined
  readonly correlation_id?: string | null | undefined
  readonly expiration?: string | null | undefined
  readonly priority?: string | null | undefined
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

/** A preset's name, or single names laid over the default preset; null takes an optional column out of the map. */
export type ColumnSetting = ColumnPreset | { readonly [name in LogicalColumn]?: ColumnMap[name] | undefined }

export function resolveColumns(setting: ColumnSetting): ColumnMap {
  if (typeof setting === 'string') return columnPresets[setting]
  const named = Object.entries(setting).filter(([, column]) => column !== undefined)
  return { ...columnPresets.default, ...Object.fromEntries(named) }
}
