import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent, quoteTable } from '../base/sql.ts'
import { findSnapshotAfter, findSnapshotBefore } from '../checkpoint/history-snapshots.ts'
import type { ReplayPlan } from '../replay/replay-record.ts'
import { namesOf } from '../routing/column-map.ts'
import type { TableRange } from '../source/table-query.ts'
import type { TableReach } from './choose-source.ts'
import type { OutboxNames } from './outbox-guard.ts'
import { lineageOf, type ReplayFacts } from './replay-facts.ts'
import { type OutboxSource, readRetentionFloor, readTableReach } from './table-reach.ts'

const entryMargin_ms = 1000

/** What the table gives for a start, and by what rows above it are told. */
export interface TableStart extends TableReach {
  /** Of the youngest entry that sees nothing at the start or above; with `by: 'transaction'`. */
  readonly snapshot: string | undefined
  /** Rows from this time on, ISO 8601; with `by: 'time'`. */
  readonly createdFrom: string | undefined
}

/** Errors are those of the client. */
export async function readTableStart(
  client: PostgresClient,
  facts: ReplayFacts,
  outbox: OutboxSource & { readonly hasTransactionId: boolean },
  from: Lsn,
  time: string | undefined,
): Promise<TableStart> {
  const lineage = lineageOf(facts)
  const by = outbox.hasTransactionId ? 'transaction' : 'time'
  const reach = await readTableReach(client, outbox, lineage)
  if ('why' in reach) {
    const none = { reaches: false, floor: undefined, snapshot: undefined, createdFrom: undefined }
    return { impossible: reach.why, by, ...none }
  }
  const entry = await findSnapshotBefore(client, facts.slot, from, lineage)
  const createdFrom = time ?? (entry === undefined ? undefined : beforeSnapshot(entry.storedAt))
  return {
    impossible: undefined,
    by,
    reaches: reach.from <= from && (by === 'transaction' ? entry !== undefined : createdFrom !== undefined),
    floor: reach.from,
    snapshot: by === 'transaction' ? entry?.snapshot : undefined,
    createdFrom: by === 'time' ? createdFrom : undefined,
  }
}

/** An entry is dated a little after its snapshot was taken. */
function beforeSnapshot(storedAt: string): string {
  return new Date(Date.parse(storedAt) - entryMargin_ms).toISOString()
}

/** A snapshot that sees all that committed below `to`; the present one where the history has none yet. */
export async function snapshotBehind(client: PostgresClient, facts: ReplayFacts, to: Lsn): Promise<string> {
  const found = await findSnapshotAfter(client, facts.slot, to, lineageOf(facts))
  if (found !== undefined) return found.snapshot
  // All ids that were given so far, not only those of transactions that a snapshot of now sees ended.
  const { rows } = await client.query({ text: 'SELECT pg_current_xact_id()::text AS xid' })
  return `${rows[0]!.xid}:${rows[0]!.xid}:`
}

/**
 * A time, ISO 8601, before which all rows were written that committed below `to`, by a `created_at` of the transaction's
 * begin or later; the present one, and a second more, where the history does not know yet.
 */
export async function timeBehind(client: PostgresClient, facts: ReplayFacts, to: Lsn): Promise<string> {
  const found = await findSnapshotAfter(client, facts.slot, to, lineageOf(facts))
  if (found !== undefined) return new Date(Date.parse(found.entry.storedAt) + entryMargin_ms).toISOString()
  const { rows } = await client.query({ text: 'SELECT extract(epoch FROM clock_timestamp())::text AS seconds' })
  return new Date(Number(rows[0]!.seconds) * 1000 + entryMargin_ms).toISOString()
}

/**
 * To be asked once the replay is recorded, and again when it is resumed: from the record on outbox.retention leaves its
 * rows alone, but a pass that looked before may have let some go. Throws REPLAY_OUT_OF_REACH. Errors are those of the
 * client.
 */
export async function requireTableStart(
  client: PostgresClient,
  { table }: Pick<OutboxNames, 'table'>,
  plan: Pick<ReplayPlan, 'source' | 'range' | 'systemIdentifier'>,
): Promise<void> {
  if (plan.source !== 'table') return
  const floor = await readRetentionFloor(client, table, plan)
  const from = plan.range.from.lsn
  if (floor === undefined || floor <= from) return
  throw new BridgeError(
    'REPLAY_OUT_OF_REACH',
    `rows of ${quoteTable(table)} that committed below ${formatLsn(floor)} were deleted by outbox.retention, expected all from ${formatLsn(from)} on`,
  )
}

/** The rows of a plan. `after`: the sort key to go on at. */
export function tableRangeOf({ range, fromSnapshot, toSnapshot }: ReplayPlan, after?: string): TableRange {
  return {
    notVisibleIn: fromSnapshot,
    visibleIn: toSnapshot,
    createdFrom: range.committedFrom,
    createdBefore: range.committedBefore,
    after,
  }
}

/** Of the outbox row with this id, its transaction as xid8 text; undefined without such a row, or where it cannot be told. */
export async function transactionOfEvent(
  client: PostgresClient,
  { table, columns }: OutboxSource,
  id: string,
): Promise<string | undefined> {
  const [transaction] = namesOf(columns.transaction_id)
  const [eventId] = namesOf(columns.id)
  if (transaction === undefined || eventId === undefined) return undefined
  try {
    const text = `SELECT ${quoteIdent(transaction)}::text AS xid FROM ${quoteTable(table)} WHERE ${quoteIdent(eventId)} = $1 LIMIT 1`
    const { rows } = await client.query({ text, values: [id] })
    return rows[0]?.xid === null || rows[0] === undefined ? undefined : String(rows[0].xid)
  } catch (error) {
    // It only shortens the search: an id that is no uuid (22P02), no such column (42703), no SELECT on the table (42501).
    if (['22P02', '42703', '42501', '42P01'].includes(String((error as { code?: unknown }).code))) return undefined
    throw error
  }
}
