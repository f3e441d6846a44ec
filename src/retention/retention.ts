import type { Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { TableName } from '../base/sql.ts'
import type { HistoryEntry } from '../checkpoint/checkpoint-history.ts'
import type { Lineage } from '../checkpoint/history-snapshots.ts'

/** What rows of the outbox table are deleted by: from which table, how old, and for which slot's history. */
export interface RetentionRule {
  readonly slot: string
  readonly table: TableName
  /** Column names of `created_at` and `transaction_id`, in the order they are tried; none for one that is not mapped. */
  readonly createdAt: readonly string[]
  readonly transactionId: readonly string[]
  /** outbox.retention, milliseconds. */
  readonly age: number
}

/** What a pass takes from other stages. */
export interface RetentionParts {
  readonly readLineage: (client: PostgresClient) => Promise<Lineage>
  readonly findRetentionSnapshot: (
    client: PostgresClient,
    slot: string,
    needed: Lsn,
    age: number,
    server: Lineage,
  ) => Promise<HistoryEntry | undefined>
}

/** A position below which rows are settled, or that a replay may still ask for. */
export interface Need {
  /** `slot orders`, `replay 4f1c`. */
  readonly what: string
  readonly kind: 'checkpoint' | 'replay'
  readonly lsn: Lsn
  readonly systemIdentifier: string
  readonly timeline: number
}

export interface PassReport {
  /**
   * `done`: all that may go is gone. `waiting`: nothing may go yet. `impossible`: an operator must change something first.
   * `busy`: another pass holds the table. `incomplete`: locks of others were in the way, or it was stopped.
   */
  readonly outcome: 'done' | 'waiting' | 'impossible' | 'busy' | 'incomplete'
  /** Why it is not done; null when it is. */
  readonly reason: string | null
  /** Rows deleted one by one, and the partitions dropped; with a dry run those that would be. */
  readonly rows: number
  readonly partitions: readonly string[]
  /** Every row that went, or would go, had committed below it; null when none may. */
  readonly floor: Lsn | null
  /** What is in order but could be better: partitions that this role cannot drop, rows that were never streamed. */
  readonly notices: readonly string[]
}
