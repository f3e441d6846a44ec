import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { anchorTime } from '../replay/anchor-name.ts'
import { parsePosition } from '../replay/position.ts'
import { baseSlotFor, walFloor } from '../replay/reach.ts'
import type { ReplayPlan, ReplaySource } from '../replay/replay-record.ts'
import { chooseSource } from './choose-source.ts'
import { type FindEvent, type LocateContext, locateEnd, locateStart, type Place } from './locate-position.ts'
import { isInHistory, type ReplayFacts, settledEnd } from './replay-facts.ts'
import { listReplaySlots } from './replay-slots.ts'
import { readTableStart, snapshotBehind, timeBehind, transactionOfEvent } from './replay-table.ts'
import type { OutboxSource } from './table-reach.ts'

export interface PlanOptions {
  readonly client: PostgresClient
  readonly facts: ReplayFacts
  readonly table: OutboxSource & { readonly hasTransactionId: boolean }
  readonly findEvent: FindEvent
  readonly from: string
  readonly to: string | undefined
  readonly source: ReplaySource | 'auto'
}

/** A plan, and what the operator should know of it. */
export interface PlannedReplay {
  readonly plan: ReplayPlan
  readonly notes: readonly string[]
}

/**
 * What a request comes to: the range in LSNs, its end at what the live stream has settled where none is given, and the
 * source that reaches its start. Rejects as locateStart() does, and with REPLAY_OUT_OF_REACH; nothing is ever moved to
 * another start than the one that was asked for.
 */
export async function planReplay(options: PlanOptions): Promise<PlannedReplay> {
  const { client, facts, table, findEvent } = options
  const context: LocateContext = {
    client,
    facts,
    findEvent,
    transactionOf: (id) => transactionOfEvent(client, table, id),
  }
  const from = await locateStart(context, parsePosition(options.from, '--from'), '--from')
  const to = await endOf(context, options.to)
  refuseReversed(options, from, to)
  // Looking for an event takes minutes, in which anchors move on.
  const slots = await listReplaySlots(client, facts.slot)
  const reach = await readTableStart(client, facts, table, from.lsn, from.time)
  const source = chooseSource({
    asked: options.source,
    start: options.from,
    from: from.lsn,
    walReaches: baseSlotFor(slots, from.lsn) !== undefined,
    walFloor: walFloor(slots),
    walSince: walSince(facts.slot, slots),
    table: reach,
  })
  if (source instanceof BridgeError) throw source
  const byTime = source === 'table' && reach.by === 'time'
  // From the table a transaction comes whole: the one at the end, if rows of it belong to the range.
  const wholeEnd = to.rows === 0 ? to.lsn : to.lsn + 1n
  const plan: ReplayPlan = {
    source,
    range: {
      from: { lsn: from.lsn, rows: source === 'wal' ? from.rows : 0 },
      to: source === 'wal' ? { lsn: to.lsn, rows: to.rows } : { lsn: wholeEnd, rows: 0 },
      // A row of the table says when it was written, not when it committed.
      ...(source === 'wal' && { committedFrom: from.time, committedBefore: to.time }),
      ...(byTime && {
        committedFrom: reach.createdFrom,
        committedBefore: to.time ?? (await timeBehind(client, facts, wholeEnd)),
      }),
    },
    fromSnapshot: source === 'table' && !byTime ? reach.snapshot : undefined,
    toSnapshot: source === 'table' && !byTime ? await snapshotBehind(client, facts, wholeEnd) : undefined,
    systemIdentifier: facts.server.systemIdentifier,
    timeline: facts.server.timeline,
  }
  return { plan, notes: [...(await notesOf(context, from)), ...tableNotes(plan, byTime, options)] }
}

/** By LSN, and two times by themselves too: they may lie between the same two entries of the history. Throws USAGE. */
function refuseReversed(asked: PlanOptions, from: Place, to: Place): void {
  const isBefore = to.lsn < from.lsn || (to.lsn === from.lsn && to.rows < from.rows)
  const isEarlier = to.time !== undefined && from.time !== undefined && to.time < from.time
  if (!isBefore && !isEarlier) return
  const [start, end] = [`--from ${asked.from}`, `--to ${asked.to ?? formatLsn(to.lsn)}`]
  throw new BridgeError(
    'USAGE',
    isEarlier
      ? `${end} lies before ${start}`
      : `${end} (${formatLsn(to.lsn)}) lies before ${start} (${formatLsn(from.lsn)})`,
  )
}

/** The oldest slot that can be streamed from says in its name when it was made, if it is an anchor. */
function walSince(slot: string, slots: ReplayFacts['slots']): string | undefined {
  const oldest = slots.find((one) => one.invalidation === undefined && one.confirmedFlushLsn === walFloor(slots))
  return oldest === undefined ? undefined : anchorTime(slot, oldest.name)?.toISOString()
}

function endOf(context: LocateContext, to: string | undefined): Promise<Place> | Place {
  return to === undefined ? settledEnd(context.facts) : locateEnd(context, parsePosition(to, '--to'), '--to')
}

async function notesOf({ facts, client }: LocateContext, from: Place): Promise<string[]> {
  const notes: string[] = []
  if (from.before !== undefined) {
    notes.push(
      `${from.before} is no longer in the WAL: the replay begins at ${formatLsn(from.lsn)}, some way before it`,
    )
  }
  const ambiguous = await lostTimelineOf(client, facts, from.lsn)
  if (ambiguous !== undefined) {
    notes.push(
      `${formatLsn(from.lsn)} is taken as of timeline ${facts.server.timeline}; timeline ${ambiguous}, which was left below it, had that LSN too`,
    )
  }
  return notes
}

/** A timeline that is not in the server's history at this LSN, and of which a stored LSN at or above it is known. */
async function lostTimelineOf(client: PostgresClient, facts: ReplayFacts, lsn: Lsn): Promise<number | undefined> {
  const { rows } = await client.query({
    text: `SELECT DISTINCT timeline::text AS timeline, system_identifier FROM wal2rabbit.checkpoint_history
      WHERE slot = $1 AND lsn >= $2 AND timeline <> $3 AND system_identifier = $4`,
    values: [facts.slot, formatLsn(lsn), facts.server.timeline, facts.server.systemIdentifier],
  })
  const lost = rows
    .map((row) => ({ timeline: Number(row.timeline), systemIdentifier: String(row.system_identifier), lsn }))
    .find((entry) => !isInHistory(facts, entry))
  return lost?.timeline
}

function tableNotes({ source, range }: ReplayPlan, byTime: boolean, { from, to }: PlanOptions): string[] {
  if (source === 'wal') return []
  const rows = byTime
    ? [
        `the table has no transaction_id: rows are taken by created_at, from ${range.committedFrom} to before ${range.committedBefore}, so those of a transaction that was open at the start and inserted before are missing; go back further to be sure`,
      ]
    : [
        `rows from the table: all that committed from ${from} ${to === undefined ? 'on' : `to ${to}`}, and some that committed shortly before or after; it repeats rather than misses`,
      ]
  return [
    ...rows,
    'from the table: no wal-lsn, no commit order across aggregates, and nothing of rows that are already deleted',
  ]
}
