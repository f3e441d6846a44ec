import { BridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import { formatLsn } from '../base/lsn.ts'
import { quoteLiteral, quoteTable } from '../base/sql.ts'
import type { ServerFacts } from '../checkpoint/server-facts.ts'
import type { ReplayProgress, ReplayRecord } from '../replay/replay-record.ts'
import { countTableSql } from '../source/table-query.ts'
import { abandonBackfills, findBackfills, type UnfinishedBackfills } from './backfill-record.ts'
import { type BackfillSlot, backfillSlotName } from './backfill-slot.ts'
import { attempt } from './connect.ts'
import { checkpointStep, planPosition } from './init-position.ts'
import type { InitContext, InitStep, PlannedStep } from './init-step.ts'
import { lookAtPosition, type PositionFacts } from './position-facts.ts'
import { inspectReadableTable } from './readable-table.ts'
import { type PublishBackfill, rangeOf, runBackfill } from './run-backfill.ts'
import { lookForSlotRoom } from './slot-room.ts'

/**
 * Slot and checkpoint for a table whose rows are published first. They are those of a snapshot that ends where the slot
 * begins: none is missed, none comes twice. Until all are settled there is only a temporary slot, so that a crash leaves
 * nothing of it and it starts over; should it come between the last row and the slot, only what the snapshot did not see
 * is published again. Rejects with BACKFILL_REFUSED where there is a slot or a checkpoint that no backfill made, and with
 * SOURCE_TOO_MANY_CONNECTIONS where slots are not free.
 */
export async function planBackfill(context: InitContext, publish: PublishBackfill): Promise<PlannedStep[]> {
  const found = await lookAtPosition(context.client, context.slot)
  const earlier = await findBackfills(context.client, context.slot)
  if (found.slot !== undefined || found.row !== undefined) {
    if (!isOwnResult(found, earlier)) throw refusal(context, found)
    return planPosition(context)
  }
  await requireRoom(context)
  const table = await inspectReadableTable(context.client, context)
  const { published, interrupted } = earlier
  const settled = table.transactionId !== undefined && isOf(published, found.server) ? published : undefined
  const again = published === settled ? interrupted : [...interrupted, ...(published === undefined ? [] : [published])]
  const work = { table, server: found.server, settled, publish }
  let temporary: BackfillSlot | undefined
  return [
    {
      ...backfillStep(context),
      apply: async () => {
        await attempt('taking back an interrupted backfill', () => abandonBackfills(context.client, again))
        const result = await runBackfill(context, work)
        temporary = result?.slot
        return result === undefined ? { outcome: 'stopped', detail: startsOver } : { detail: describe(result.progress) }
      },
    },
    { ...slotStep(context), apply: async () => persist(context, temporary!) },
    checkpointStep(context, found.server),
  ]
}

/** What planBackfill() would do, and for how many rows; the table may still be to be created. */
export async function planBackfillDry(context: InitContext): Promise<PlannedStep[]> {
  const { client, slot } = context
  const found = await lookAtPosition(client, slot)
  const hasSchema = await client.query({ text: `SELECT to_regclass('wal2rabbit.replay') IS NOT NULL AS found` })
  const earlier = hasSchema.rows[0]!.found === true ? await findBackfills(client, slot) : undefined
  if (found.slot !== undefined || found.row !== undefined) {
    if (earlier === undefined || !isOwnResult(found, earlier)) throw refusal(context, found)
    return planPosition(context)
  }
  await requireRoom(context)
  const rows = await countRows(context, isOf(earlier?.published, found.server) ? earlier?.published : undefined)
  return [
    { ...backfillStep(context), detail: `publishes ${rows} rows` },
    slotStep(context),
    checkpointStep(context, found.server),
  ]
}

const slots_needed = 2
const startsOver = 'nothing of it is kept, "wal2rabbit init --backfill" starts over'

/** The slot of a backfill that was killed before its checkpoint was stored, or one that came to its end. */
function isOwnResult({ slot, row }: PositionFacts, { published, isDone }: UnfinishedBackfills): boolean {
  if (row !== undefined) return isDone
  return published !== undefined && slot?.confirmedFlush === published.plan.range.to.lsn
}

function refusal({ slot }: InitContext, found: PositionFacts): BridgeError {
  const what = found.slot === undefined ? `a checkpoint of slot ${slot}` : `slot ${slot}`
  return new BridgeError(
    'BACKFILL_REFUSED',
    `${what} is there already, expected neither slot nor checkpoint: what was committed since it was made would come twice`,
  )
}

/** Before anything is published: the lasting slot is a copy, made while the temporary one is there. */
async function requireRoom({ client, slot }: InitContext): Promise<void> {
  // That of an attempt which was killed a moment ago is as good as gone.
  const { free, taken, limit } = await lookForSlotRoom(client, backfillSlotName(slot))
  if (free >= slots_needed) return
  throw new BridgeError(
    'SOURCE_TOO_MANY_CONNECTIONS',
    `a backfill needs ${slots_needed} free replication slots, one while it runs and one more at its end, but ${taken} of ${limit} (max_replication_slots) are taken`,
  )
}

/** Its snapshot means something on this server only. */
function isOf(record: ReplayRecord | undefined, { systemIdentifier, timeline }: ServerFacts): boolean {
  return record?.plan.systemIdentifier === systemIdentifier && record.plan.timeline === timeline
}

async function countRows(context: InitContext, settled: ReplayRecord | undefined): Promise<number> {
  try {
    const table = await inspectReadableTable(context.client, context)
    const range = table.transactionId === undefined ? {} : rangeOf({ settled })
    const { rows } = await context.client.query({ text: countTableSql(table, range) })
    return Number(rows[0]!.rows)
  } catch (error) {
    if (error instanceof BridgeError && error.code === 'TABLE_MISSING') return 0
    throw error
  }
}

function backfillStep({ table, slot, plugin }: InitContext): InitStep {
  const temporary = backfillSlotName(slot)
  return {
    name: `backfill of ${quoteTable(table)}`,
    outcome: 'created',
    sql: `-- On a replication connection that stays open:
-- CREATE_REPLICATION_SLOT ${temporary} TEMPORARY LOGICAL ${plugin} (SNAPSHOT 'export')
-- The rows that this snapshot sees are published.`,
  }
}

function slotStep({ slot }: InitContext): InitStep {
  const names = [backfillSlotName(slot), slot].map(quoteLiteral).join(', ')
  const sql = `SELECT pg_copy_logical_replication_slot(${names}, false);`
  return { name: `slot ${slot}`, outcome: 'created', sql }
}

async function persist({ client, slot }: InitContext, temporary: BackfillSlot): Promise<Partial<InitStep>> {
  try {
    await temporary.persist(client, slot)
    failPoint('backfill-slot')
    return { detail: `streams what commits from ${formatLsn(temporary.consistentPoint)} on` }
  } finally {
    await temporary.close()
  }
}

function describe({ published, dead, dropped }: ReplayProgress): string {
  const parts = [`${published} events published`]
  if (dead > 0) parts.push(`${dead} kept as dead letters`)
  if (dropped > 0) parts.push(`${dropped} dropped`)
  return parts.join(', ')
}
