import type { PostgresClient } from '../base/postgres-client.ts'
import type { ReplayPlan } from '../replay/replay-record.ts'
import { countTableSql } from '../source/table-query.ts'
import { withControl } from './connect.ts'
import { expectedEvents } from './expected-events.ts'
import type { OutboxNames } from './outbox-guard.ts'
import { inspectReadableTable } from './readable-table.ts'
import { tableRangeOf } from './replay-table.ts'

/** Milliseconds: no replay waits longer for a number that only its progress is measured by. */
const timeout_default = 5000

export interface ExpectedRowsOptions {
  readonly url: string
  /** Milliseconds. */
  readonly connectTimeout: number
  readonly slot: string
  readonly names: OutboxNames
  /** Milliseconds a statement may take; default 5 s. */
  readonly timeout?: number
}

/**
 * How many rows a replay will read, about; undefined where that cannot be had soon: a large table, a lock on it, a server
 * that is away. Never rejects: whatever is wrong with the server or the table, the replay itself meets it, and says so.
 */
export async function expectedRows(options: ExpectedRowsOptions, plan: ReplayPlan): Promise<number | undefined> {
  const { url, slot, names, timeout = timeout_default } = options
  const connectTimeout = Math.min(options.connectTimeout, timeout)
  const control = { url, connectTimeout, applicationName: 'wal2rabbit replay', statementTimeout: timeout }
  try {
    return await withControl(control, 'counting the rows', (client) =>
      plan.source === 'wal' ? expectedEvents(client, slot, plan) : countReplayRows(client, names, plan),
    )
  } catch {
    // The number is a nicety. What is wrong ends the replay, if it matters there.
    return undefined
  }
}

/** How many rows a replay from the table will read. Errors are those of the client. */
export async function countReplayRows(client: PostgresClient, names: OutboxNames, plan: ReplayPlan): Promise<number> {
  // The cores of the server are for the application and the live stream.
  await client.query({ text: 'SET max_parallel_workers_per_gather = 0' })
  const table = await inspectReadableTable(client, names)
  const { rows } = await client.query({ text: countTableSql(table, tableRangeOf(plan)) })
  return Number(rows[0]!.rows)
}
