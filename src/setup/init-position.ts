import { BridgeError, type ErrorCode } from '../base/errors.ts'
import { inTransaction } from '../base/in-transaction.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import { quoteLiteral, quoteTable } from '../base/sql.ts'
import { recordHistory } from '../checkpoint/checkpoint-history.ts'
import type { ServerFacts } from '../checkpoint/server-facts.ts'
import type { ReplayRecord } from '../replay/replay-record.ts'
import { createSlot } from '../source/slot.ts'
import { findBackfills, settleBackfills } from './backfill-record.ts'
import { attempt } from './connect.ts'
import type { InitContext, InitStep, PlannedStep } from './init-step.ts'
import { judgePosition, lookAtPosition, type PositionFacts } from './position-facts.ts'

/** Halts that a person may decide to go on from, giving up what lies in the gap. */
const gapCodes: readonly ErrorCode[] = [
  'SLOT_MISSING',
  'SLOT_INVALIDATED',
  'SLOT_AHEAD',
  'SYSTEM_CHANGED',
  'STORED_AHEAD_OF_WAL',
  'TIMELINE_DIVERGED',
]

/**
 * Slot and checkpoint, which belong together. Both missing: created. One without a checkpoint: adopted where it stands.
 * A checkpoint that no longer fits its slot is never mended silently: that throws the halt of the start-up guards, unless
 * the gap is accepted.
 */
export async function planPosition(context: InitContext): Promise<PlannedStep[]> {
  const found = await lookAtPosition(context.client, context.slot)
  const { slot, row } = found
  if (row === undefined && slot === undefined) return planFirst(context, found.server)
  const problem = await judgePosition(found, context)
  if (problem === undefined) {
    const kept: InitStep = { name: `slot ${context.slot}`, outcome: 'kept', sql: '' }
    if (row === undefined) return [kept, checkpointStep(context, found.server, slot!.confirmedFlush!)]
    return [kept, { name: 'checkpoint', outcome: 'kept', sql: '', detail: `stored LSN ${formatLsn(row.position.lsn)}` }]
  }
  if (row === undefined || !gapCodes.includes(problem.code)) throw problem
  if (!context.acceptGap) {
    throw new BridgeError(
      problem.code,
      `${problem.message}. "wal2rabbit init --accept-gap" goes on without them: it ${newStart(found)}`,
      { cause: problem },
    )
  }
  if (slot?.active) throw new BridgeError('SLOT_ACTIVE', `slot ${context.slot} is streamed by pid ${slot.activePid}`)
  return gapSteps(context, found, problem)
}

/** Rows that are in the table already are none of the stream's, and a backfill that has begun must not be forgotten. */
async function planFirst(context: InitContext, server: ServerFacts): Promise<PlannedStep[]> {
  const unfinished = context.acceptGap ? undefined : await unfinishedBackfill(context)
  if (unfinished !== undefined) {
    const { id, progress } = unfinished
    throw new BridgeError(
      'SLOT_MISSING',
      `backfill ${id} of slot ${context.slot} settled ${progress.published + progress.dead + progress.dropped} rows and came to no slot. "wal2rabbit init --backfill" completes it, "wal2rabbit init --accept-gap" goes on without the rows that it left out`,
    )
  }
  const note = (await hasRows(context))
    ? 'the rows that are in the table already are not sent: "wal2rabbit init --backfill", in place of "init", publishes them first'
    : undefined
  return [slotStep(context, { note }), checkpointStep(context, server)]
}

async function unfinishedBackfill({ client, slot }: InitContext): Promise<ReplayRecord | undefined> {
  const found = await client.query({ text: `SELECT to_regclass('wal2rabbit.replay') IS NOT NULL AS found` })
  if (found.rows[0]!.found !== true) return undefined
  const { published, interrupted } = await findBackfills(client, slot)
  return published ?? interrupted[0]
}

/** False also where it cannot be told: before the table is made, or for a role that may not read it. */
async function hasRows({ client, table }: InitContext): Promise<boolean> {
  const name = quoteTable(table)
  const may = await client.query({
    text: 'SELECT coalesce(has_table_privilege(to_regclass($1), $2), false) AS may',
    values: [name, 'SELECT'],
  })
  if (may.rows[0]!.may !== true) return false
  return (await client.query({ text: `SELECT EXISTS (SELECT FROM ${name}) AS found` })).rows[0]!.found === true
}

function slotStep(
  { client, slot, plugin, notice }: InitContext,
  { drop = false, note }: { readonly drop?: boolean; readonly note?: string | undefined } = {},
): PlannedStep {
  const dropSql = `SELECT pg_drop_replication_slot(${quoteLiteral(slot)});`
  // A statement of its own: a slot cannot be created in a transaction that has written.
  const createSql = `SELECT pg_create_logical_replication_slot(${quoteLiteral(slot)}, ${quoteLiteral(plugin)});`
  return {
    name: `slot ${slot}`,
    outcome: 'created',
    sql: drop ? `${dropSql}\n${createSql}` : createSql,
    ...(note !== undefined && { detail: note }),
    apply: async () => {
      if (drop) await attempt(`dropping slot ${slot}`, () => client.query({ text: dropSql }))
      const text = `creating slot ${slot} waits for the transactions that were already writing to end (see pg_stat_activity)`
      const timer = setTimeout(() => notice(text), 3000)
      try {
        const lsn = await attempt(`creating slot ${slot}`, () => createSlot(client, slot, plugin))
        const streams = `streams what commits from ${formatLsn(lsn)} on`
        return { detail: note === undefined ? streams : `${streams}; ${note}` }
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

/**
 * Stores where the slot stands; `known` is that position when the slot is there already. From then on an unfinished
 * backfill is none any more. What committed before the slot had its transaction id before this statement has its own, also
 * what no snapshot sees yet; so nothing below that counts as streamed, unless a backfill published up to this slot.
 */
export function checkpointStep({ client, slot }: InitContext, server: ServerFacts, known?: Lsn): PlannedStep {
  const system = quoteLiteral(server.systemIdentifier)
  const sql = `INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline, unstreamed_below)
  SELECT slot_name, confirmed_flush_lsn, ${system}, ${server.timeline}, CASE WHEN NOT EXISTS (
    SELECT FROM wal2rabbit.replay r WHERE r.slot = s.slot_name AND r.kind = 'backfill' AND r.state <> 'abandoned'
      AND r.lsn = r.to_lsn AND r.to_lsn = s.confirmed_flush_lsn AND r.system_identifier = ${system}
      AND r.timeline = ${server.timeline}) THEN pg_current_xact_id() END
  FROM pg_replication_slots s WHERE slot_name = ${quoteLiteral(slot)}
  ON CONFLICT (slot) DO NOTHING RETURNING lsn::text AS lsn;`
  return {
    name: 'checkpoint',
    outcome: 'created',
    sql,
    ...(known !== undefined && { detail: `stored LSN ${formatLsn(known)}` }),
    apply: async () => {
      const { rows } = await attempt('storing the first checkpoint', () =>
        inTransaction(client, async () => {
          const stored = await client.query({ text: sql })
          await settleBackfills(client, slot)
          return stored
        }),
      )
      await recordHistory(client, slot, 'start')
      return rows[0] === undefined ? { outcome: 'kept' } : { detail: `stored LSN ${rows[0].lsn}` }
    },
  }
}

/** A usable slot is kept and the checkpoint moved to it; otherwise the slot is made anew first. */
function gapSteps(context: InitContext, found: PositionFacts, problem: BridgeError): PlannedStep[] {
  const { slot } = found
  const moved = moveCheckpointStep(context, found, problem)
  if (slot !== undefined && slot.invalidation === undefined) {
    return [{ name: `slot ${slot.name}`, outcome: 'kept', sql: '' }, moved]
  }
  return [slotStep(context, { drop: slot !== undefined }), moved]
}

function moveCheckpointStep(context: InitContext, { row, server }: PositionFacts, problem: BridgeError): PlannedStep {
  const { client, slot } = context
  const { position, version } = row!
  const sql = `UPDATE wal2rabbit.checkpoint c SET lsn = s.confirmed_flush_lsn, partial_commit_lsn = NULL,
  partial_rows = NULL, system_identifier = ${quoteLiteral(server.systemIdentifier)}, timeline = ${server.timeline},
  epoch = c.epoch + 1, version = c.version + 1, owner = '', stored_at = clock_timestamp(),
  unstreamed_below = pg_current_xact_id()
  FROM pg_replication_slots s
  WHERE c.slot = ${quoteLiteral(slot)} AND s.slot_name = c.slot AND c.version = ${version} RETURNING c.lsn::text AS lsn;`
  const from = formatLsn(position.lsn)
  return {
    name: 'checkpoint',
    outcome: 'changed',
    sql,
    detail: `gap accepted (${problem.code}): what was committed from ${from} on is not streamed again`,
    apply: async () => {
      const { rows } = await attempt('moving the checkpoint', () => client.query({ text: sql }))
      if (rows[0] === undefined) {
        const text = `checkpoint of slot ${slot} changed meanwhile: it no longer has version ${version}`
        throw new BridgeError('CHECKPOINT_FENCED', text)
      }
      await recordHistory(client, slot, 'gap')
      return {
        detail: `gap accepted (${problem.code}): events between ${from} and ${rows[0].lsn} are not streamed: see "publish again" in docs/operations.md`,
      }
    },
  }
}

function newStart({ slot, server }: PositionFacts): string {
  const usable = slot !== undefined && slot.invalidation === undefined && slot.confirmedFlush !== null
  return usable
    ? `moves the checkpoint to ${formatLsn(slot.confirmedFlush!)}, where the slot stands`
    : `makes the slot anew at about ${formatLsn(server.walEnd)}`
}
