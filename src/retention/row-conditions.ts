import { fullXminSql } from '../base/full-xid.ts'
import { quoteIdent } from '../base/sql.ts'
import type { OutboxFacts } from './outbox-facts.ts'

/** What the conditions below compare rows with. */
export interface RowLimits {
  /** Rows with a created_at before it are old; a timestamptz as text. */
  readonly cutoff: string
  /** `pg_snapshot` as text: what it does not see stays. */
  readonly snapshot: string
  /** `xid8` as text: the slot may never have streamed what transactions below it wrote. Null where it streamed all. */
  readonly unstreamedBelow: string | null
}

/** $1 to $3 of the conditions below. */
export function limitValues({ cutoff, snapshot, unstreamedBelow }: RowLimits): string[] {
  return [cutoff, snapshot, unstreamedBelow ?? '0']
}

/** True for rows `o` that may go. */
export function goneBySql(facts: OutboxFacts): string {
  return `${settledSql(facts)} AND NOT ${unstreamedSql(facts)}`
}

/**
 * True for rows `o` of transactions below `limit` (bigint), false for all others. Either id is enough: xmin starts anew with an
 * UPDATE, and transaction_id may come with a copy from elsewhere.
 */
export function unstreamedSql({ transactionId }: OutboxFacts, limit = '$3'): string {
  const byXmin = `${fullXminSql('o')} < ${limit}::bigint`
  if (transactionId?.type !== 'xid8') return `(${byXmin})`
  return `(${byXmin} OR coalesce(o.${quoteIdent(transactionId.name)} < ${limit}::bigint::text::xid8, false))`
}

/** A moment as `created_at` has it, from a timestamptz. Without a time zone it is UTC, as for the message. */
export function momentSql({ createdAt }: OutboxFacts, value: string): string {
  return createdAt!.type === 'timestamp without time zone'
    ? `(${value}::timestamptz AT TIME ZONE 'UTC')`
    : `${value}::timestamptz`
}

/**
 * True for rows `o` of the table that are older than $1 (timestamptz) and that snapshot $2 sees committed; never for one
 * that it does not see, whatever created_at says. Settled, if they were streamed at all: see unstreamedSql().
 *
 * By transaction_id, and by xmin too, as an application may write the former itself (a copy, a restore): with its own id a
 * row names its transaction. Any other xmin may be that of a subtransaction, and a snapshot lists none: of those it tells
 * nothing above the oldest transaction that was open. That one is no younger than any subtransaction of a transaction then
 * open, so below it all have ended.
 */
export function settledSql(facts: OutboxFacts): string {
  const createdAt = `o.${quoteIdent(facts.createdAt!.name)}`
  const old = `${createdAt} < ${momentSql(facts, '$1')}`
  const xmin = fullXminSql('o')
  const belowAllOpen = `${xmin} < (SELECT pg_snapshot_xmin($2::pg_snapshot)::text::bigint)`
  if (facts.transactionId?.type !== 'xid8') return `${old} AND ${belowAllOpen}`
  const id = `o.${quoteIdent(facts.transactionId.name)}`
  const seen = `pg_visible_in_snapshot(${id}, $2::pg_snapshot)`
  const isOwn = `${xmin}::text::xid8 = ${id}`
  return `${old} AND CASE WHEN ${id} IS NULL THEN ${belowAllOpen} ELSE ${seen} AND (${isOwn} OR ${belowAllOpen}) END`
}
