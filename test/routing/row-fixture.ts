import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import type { SourceRelation, SourceRow, SourceTransaction, SourceTuple } from '../../src/source/source.ts'

/** Column values as PostgreSQL prints them; a Buffer for text that is not UTF-8, null for SQL NULL. */
export type RowValues = Readonly<Record<string, string | Buffer | null>>

/** The default outbox table, one column type changed or added by name. */
export function outboxRelation(types: Readonly<Record<string, string>> = {}): SourceRelation {
  return relationOf('public', 'outbox', {
    id: 'uuid',
    aggregate_type: 'text',
    aggregate_id: 'text',
    type: 'text',
    payload: 'jsonb',
    headers: 'jsonb',
    created_at: 'timestamptz',
    transaction_id: 'xid8',
    ...types,
  })
}

export function relationOf(schema: string, table: string, types: Readonly<Record<string, string>>): SourceRelation {
  return { schema, table, columns: Object.entries(types).map(([name, type]) => ({ name, type })) }
}

const defaults: RowValues = {
  id: '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11',
  aggregate_type: 'order',
  aggregate_id: '42',
  type: 'placed',
  payload: '{"total": 12}',
  headers: '{}',
  created_at: '2026-01-31 23:59:58.123456+00',
  transaction_id: '741',
}

export interface RowOptions {
  readonly relation?: SourceRelation
  readonly ordinal?: number
  readonly commitLsn?: string
}

/** A row of `relation` (default: the default outbox) with these values over a plain event's; others are NULL. */
export function outboxRow(values: RowValues = {}, options: RowOptions = {}): SourceRow {
  const relation = options.relation ?? outboxRelation()
  const all = { ...defaults, ...values }
  return {
    kind: 'row',
    transaction: transactionAt(options.commitLsn ?? '16/B374D848'),
    ordinal: options.ordinal ?? 0,
    relation,
    tuple: tupleOf(relation.columns.map(({ name }) => all[name] ?? null)),
  }
}

function transactionAt(lsn: string): SourceTransaction {
  const commitLsn = parseLsn(lsn)
  return {
    commitLsn,
    commitLsnText: formatLsn(commitLsn),
    committedAt: '2026-01-31T23:59:59.123456Z',
    committedAtSeconds: 1_769_903_999,
  }
}

function tupleOf(values: readonly (string | Buffer | null)[]): SourceTuple {
  const fields = values.map((value) => (typeof value === 'string' ? Buffer.from(value) : value))
  return {
    text: (index) => fields[index]?.toString('utf8') ?? null,
    bytes: (index) => fields[index] ?? null,
    byteLength: (index) => fields[index]?.length ?? 0,
    size: fields.reduce((sum, field) => sum + (field?.length ?? 0), 0),
  }
}
