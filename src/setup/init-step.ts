import type { PostgresClient } from '../base/postgres-client.ts'
import type { TableName } from '../base/sql.ts'
import type { ColumnMap } from '../routing/column-map.ts'

/** One object that `init` looks after. */
export interface InitStep {
  /** `table "public"."outbox"`, `slot wal2rabbit`. */
  readonly name: string
  /** `stopped`: on request; the steps after it are not carried out. */
  readonly outcome: 'kept' | 'created' | 'changed' | 'stopped'
  /** What was or, in a dry run, would be executed; empty when kept or when it is no SQL. */
  readonly sql: string
  /** What the operator should know of it. */
  readonly detail?: string
}

/** A step that has looked, and not yet changed anything. */
export interface PlannedStep extends InitStep {
  /** Carries the step out; what it returns completes the step. */
  readonly apply?: () => Promise<Partial<InitStep> | undefined>
}

/** What every step works on. */
export interface InitContext {
  readonly client: PostgresClient
  readonly url: string
  /** Milliseconds. */
  readonly connectTimeout: number
  readonly slot: string
  readonly publication: string
  readonly plugin: 'pgoutput' | 'wal2json'
  readonly table: TableName
  readonly columns: ColumnMap
  /** The columns are those of the table that init itself would create. */
  readonly ownColumns: boolean
  readonly acceptGap: boolean
  /** Tells the operator why it takes so long. */
  readonly notice: (text: string) => void
}
