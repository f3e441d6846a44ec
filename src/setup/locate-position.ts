import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, noLsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { findMark } from '../checkpoint/checkpoint-history.ts'
import { findWalEndBefore, findWalEndBehind } from '../checkpoint/history-times.ts'
import { describePosition } from '../checkpoint/positions.ts'
import type { Position } from '../replay/position.ts'
import { walFloor } from '../replay/reach.ts'
import { isInHistory, lineageOf, type ReplayFacts, settledEnd } from './replay-facts.ts'

/** A place in the stream. As a start: commits at `lsn` or above, less the first `rows` of the transaction at `lsn`. */
export interface Place {
  readonly lsn: Lsn
  readonly rows: number
  /** Of a time: ISO 8601 with microseconds in UTC, as `lsn` lies somewhat before it as a start, and behind it as an end. */
  readonly time?: string
  /** It lies some way before what was asked for. */
  readonly before?: string
}

/** Where an event stands in the WAL; undefined when it is not between these LSNs. */
export type FindEvent = (
  id: string,
  from: Lsn | undefined,
) => Promise<{ readonly commitLsn: Lsn; readonly ordinal: number } | undefined>

export interface LocateContext {
  readonly client: PostgresClient
  readonly facts: ReplayFacts
  /** Looks through the WAL, from an LSN or from as far back as it reaches, up to what the live stream has settled. */
  readonly findEvent: FindEvent
  /** Of the outbox row with this id, its transaction as xid8 text; undefined when there is no such row or column. */
  readonly transactionOf: (id: string) => Promise<string | undefined>
}

/** A transaction is seen a little after its commit record is written, with synchronous replication perhaps seconds later. */
const rowMargin = 60_000
const rowMarginLeast = 1000

/**
 * Where a position starts. Rejects with POSITION_UNKNOWN, POSITION_AHEAD (not settled by the live stream, or in the future),
 * or TIMELINE_DIVERGED (a mark of a timeline that was left). A time before everything that is stored is at 0/0.
 */
export async function locateStart(context: LocateContext, position: Position, flag: string): Promise<Place> {
  switch (position.kind) {
    case 'lsn':
      return withinSettled(context.facts, { lsn: position.lsn, rows: 0 }, flag)
    case 'mark':
      return atMark(context, position.name, flag)
    case 'time':
      return atTime(context, position.time, flag)
    case 'event': {
      const found = await positionOfEvent(context, position.id)
      if (found !== undefined) return { lsn: found.commitLsn, rows: found.ordinal }
      await refuseUnsettled(context, position.id, flag)
      const before = await placeBeforeRow(context, position.id)
      if (before !== undefined) return before
      throw unknownEvent(position.id, flag)
    }
  }
}

/** Where a range ends: an LSN, time or mark does not belong to it, an event does. Rejects as locateStart(). */
export async function locateEnd(context: LocateContext, position: Position, flag: string): Promise<Place> {
  const { facts, client } = context
  switch (position.kind) {
    case 'lsn':
      return withinSettled(facts, { lsn: position.lsn, rows: 0 }, flag)
    case 'mark':
      return atMark(context, position.name, flag)
    case 'time': {
      await refuseFuture(context, position.time, flag)
      const settled = settledEnd(facts)
      const lsn = await findWalEndBehind(client, facts.slot, position.time, lineageOf(facts))
      const end = lsn === undefined || lsn > settled.lsn ? settled : { lsn, rows: 0 }
      return { ...end, time: position.time }
    }
    case 'event': {
      const found = await positionOfEvent(context, position.id)
      if (found === undefined) {
        await refuseUnsettled(context, position.id, flag)
        throw unknownEvent(position.id, flag)
      }
      return { lsn: found.commitLsn, rows: found.ordinal + 1 }
    }
  }
}

/** Also an LSN between the stored one and the transaction that is settled in part: nothing else committed there. */
function withinSettled(facts: ReplayFacts, place: Place, flag: string): Place {
  const { lsn } = place
  if (lsn <= settledEnd(facts).lsn) return place
  const { walEnd } = facts.server
  const beyond =
    lsn > walEnd ? `the WAL end ${formatLsn(walEnd)}` : `the stored LSN ${describePosition(facts.checkpoint.position)}`
  throw new BridgeError('POSITION_AHEAD', `${flag} ${formatLsn(lsn)} lies beyond ${beyond}`)
}

async function atMark({ client, facts }: LocateContext, name: string, flag: string): Promise<Place> {
  const mark = await findMark(client, facts.slot, name)
  if (mark === undefined) {
    throw new BridgeError('POSITION_UNKNOWN', `${flag}: slot ${facts.slot} has no mark ${JSON.stringify(name)}`)
  }
  if (!isInHistory(facts, mark)) {
    const { server } = facts
    throw new BridgeError(
      'TIMELINE_DIVERGED',
      `${flag}: mark ${name} is LSN ${formatLsn(mark.lsn)} of timeline ${mark.timeline} of system ${mark.systemIdentifier}, which is not in the history of the server (timeline ${server.timeline} of system ${server.systemIdentifier})`,
    )
  }
  return withinSettled(facts, { lsn: mark.lsn, rows: 0 }, `${flag} (mark ${name})`)
}

/** 0/0 where the history begins later. */
async function atTime(context: LocateContext, time: string, flag: string): Promise<Place> {
  const { client, facts } = context
  await refuseFuture(context, time, flag)
  const found = (await findWalEndBefore(client, facts.slot, time, lineageOf(facts))) ?? noLsn
  const stored = facts.checkpoint.position.lsn
  return { lsn: found < stored ? found : stored, rows: 0, time }
}

async function refuseFuture({ client }: LocateContext, time: string, flag: string): Promise<void> {
  const { rows } = await client.query({ text: 'SELECT $1::timestamptz > clock_timestamp() AS future', values: [time] })
  if (rows[0]?.future === true) throw new BridgeError('POSITION_AHEAD', `${flag} ${time} lies in the future`)
}

/**
 * The WAL alone says where an event stands. The row of the table, where there is one, says from where on to look: its
 * transaction committed after each snapshot that does not see it. Where that misleads, all of the WAL is read.
 */
async function positionOfEvent(context: LocateContext, id: string) {
  const { findEvent, transactionOf } = context
  const transaction = await transactionOf(id)
  const hint = transaction === undefined ? undefined : await entryBlindTo(context, transaction, 0)
  const found = hint === undefined ? undefined : await findEvent(id, hint.lsn)
  return found ?? findEvent(id, undefined)
}

/**
 * For an event that was not found: where the WAL reaches back to before its row committed, it lies at the stored LSN or
 * above. A start some way before it would give all but the event itself.
 */
async function refuseUnsettled(context: LocateContext, id: string, flag: string): Promise<void> {
  const { checkpoint, slots } = context.facts
  const transaction = await context.transactionOf(id)
  const entry = transaction === undefined ? undefined : await entryBlindTo(context, transaction, 0)
  const floor = walFloor(slots)
  if (entry === undefined || floor === undefined || floor > entry.lsn) return
  throw new BridgeError(
    'POSITION_AHEAD',
    `${flag} event:${id} is in the table, but not in the WAL below the stored LSN ${formatLsn(checkpoint.position.lsn)}: it lies at or above that`,
  )
}

/** For an event that only the table still has: a place that lies before it for certain, a minute or more. */
async function placeBeforeRow(context: LocateContext, id: string): Promise<Place | undefined> {
  const transaction = await context.transactionOf(id)
  if (transaction === undefined) return undefined
  const entry =
    (await entryBlindTo(context, transaction, rowMargin)) ?? (await entryBlindTo(context, transaction, rowMarginLeast))
  return entry === undefined ? undefined : { lsn: entry.walEnd, rows: 0, before: `event:${id}` }
}

/**
 * Of the entries whose snapshot does not see a transaction, the last one that comes before all those less than `margin` ms
 * older than the very last, in the order of the WAL: clocks are set back.
 */
async function entryBlindTo({ client, facts }: LocateContext, transaction: string, margin: number) {
  const { rows } = await client.query({
    text: `WITH blind AS (SELECT id, stored_at, lsn, snapshot_wal_end FROM wal2rabbit.checkpoint_history
        WHERE slot = $1 AND NOT pg_visible_in_snapshot($2::xid8, snapshot) AND system_identifier = $3 AND timeline = $4),
      last AS (SELECT stored_at FROM blind ORDER BY snapshot_wal_end DESC, id DESC LIMIT 1)
      SELECT lsn::text AS lsn, snapshot_wal_end::text AS wal_end FROM blind b
      WHERE snapshot_wal_end < (SELECT min(young.snapshot_wal_end) FROM blind young, last
        WHERE young.stored_at >= last.stored_at - $5 * interval '1 millisecond')
      ORDER BY b.snapshot_wal_end DESC, id DESC LIMIT 1`,
    values: [facts.slot, transaction, facts.server.systemIdentifier, facts.server.timeline, margin],
  })
  return rows[0] === undefined
    ? undefined
    : { lsn: parseLsn(String(rows[0].lsn)), walEnd: parseLsn(String(rows[0].wal_end)) }
}

function unknownEvent(id: string, flag: string): BridgeError {
  return new BridgeError(
    'POSITION_UNKNOWN',
    `${flag}: no event with id ${JSON.stringify(id)} is in the WAL below the stored LSN, as far back as that is kept, nor placed by the table`,
  )
}
