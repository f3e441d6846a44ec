import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { formatLsn, type Lsn, parseLsn } from '../../src/base/lsn.ts'
import { recordHistory } from '../../src/checkpoint/checkpoint-history.ts'
import { anchorName } from '../../src/replay/anchor-name.ts'
import { isEmptyRange } from '../../src/replay/range.ts'
import { columnPresets } from '../../src/routing/column-map.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import type { FindEvent } from '../../src/setup/locate-position.ts'
import { type PlanOptions, planReplay } from '../../src/setup/plan-replay.ts'
import { type ReplayFacts, readReplayFacts } from '../../src/setup/replay-facts.ts'
import { copySlot } from '../../src/source/slot.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let slot: string
let facts: ReplayFacts

beforeAll(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  slot = uniqueName('plan')
  const names = { url: database.url, slot, publication: slot, table: 'public.outbox' }
  await runInit({
    ...names,
    ...{ plugin: 'pgoutput', columns: 'default', broker: undefined, dryRun: false, acceptGap: false },
  })
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

beforeEach(async () => {
  await client.query('TRUNCATE outbox, wal2rabbit.checkpoint_history')
  await client.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn()')
  facts = await readReplayFacts(client, database.url, slot)
})

const nowhere: FindEvent = async () => undefined

function plan(from: string, to?: string, changes: Partial<PlanOptions> = {}) {
  const table = { slot, table: { schema: 'public', name: 'outbox' }, columns: columnPresets.default }
  return planReplay({
    ...{ client, facts, table: { ...table, hasTransactionId: true }, findEvent: nowhere },
    ...{ from, to, source: 'auto', ...changes },
  })
}

/** Writes an entry of the history that sees nothing. */
async function entryAt(snapshotWalEnd: Lsn, storedAt = '2001-01-31 12:00:00'): Promise<void> {
  const { systemIdentifier, timeline } = facts.server
  await client.query({
    text: `INSERT INTO wal2rabbit.checkpoint_history
        (slot, lsn, events, stored_at, snapshot, snapshot_wal_end, kind, system_identifier, timeline)
      VALUES ($1, '0/1', 0, $2, '3:3:', $3, 'interval', $4, $5)`,
    values: [slot, storedAt, formatLsn(snapshotWalEnd), systemIdentifier, timeline],
  })
}

async function walEnd(): Promise<Lsn> {
  return parseLsn((await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn)
}

describe('the live stream is inside of a transaction of which 5 rows are settled', () => {
  let stored: Lsn
  let commitLsn: Lsn

  beforeEach(() => {
    stored = facts.checkpoint.position.lsn
    commitLsn = stored + 64n
    settle({ commitLsn, rows: 5 })
  })

  function settle(partial: { commitLsn: Lsn; rows: number }): void {
    facts = { ...facts, checkpoint: { ...facts.checkpoint, position: { lsn: stored, partial } } }
  }

  const range = async (from: string, to?: string, findEvent = nowhere) =>
    (await plan(from, to, { findEvent })).plan.range

  // They were in neither: not below the stored LSN, and not the live stream's to deliver any more.
  test('these rows belong to a replay without --to', async () => {
    expect(await range(formatLsn(stored))).toMatchObject({
      from: { lsn: stored, rows: 0 },
      to: { lsn: commitLsn, rows: 5 },
    })
  })

  test('as a start: its commit LSN, and an event among these rows; as an end as well', async () => {
    const among: FindEvent = async () => ({ commitLsn, ordinal: 3 })
    const end = { lsn: commitLsn, rows: 5 }
    expect(await range(formatLsn(commitLsn))).toMatchObject({ from: { lsn: commitLsn, rows: 0 }, to: end })
    expect(await range('event:a', undefined, among)).toMatchObject({ from: { lsn: commitLsn, rows: 3 }, to: end })
    expect((await range(formatLsn(stored), formatLsn(commitLsn))).to).toEqual({ lsn: commitLsn, rows: 0 })
    expect((await range(formatLsn(stored), 'event:a', among)).to).toEqual({ lsn: commitLsn, rows: 4 })
  })

  test('a time that lies behind all that is stored ends with these rows', async () => {
    const { now } = (await client.query('SELECT clock_timestamp() AS now')).rows[0]
    expect((await range(formatLsn(stored), now.toISOString())).to).toEqual({ lsn: commitLsn, rows: 5 })
  })

  test('what comes behind its commit LSN lies ahead', async () => {
    await expect(plan(formatLsn(commitLsn + 1n))).rejects.toMatchObject({
      code: 'POSITION_AHEAD',
      message: expect.stringContaining(`and 5 rows of ${formatLsn(commitLsn)}`),
    })
  })

  test('of a transaction that a promotion cut off no row belongs to a replay', async () => {
    const timelineHistory = [{ timeline: facts.checkpoint.timeline, switchLsn: commitLsn }]
    facts = { ...facts, server: { ...facts.server, timeline: facts.server.timeline + 1 }, timelineHistory }
    expect((await range(formatLsn(stored))).to).toEqual({ lsn: stored, rows: 0 })
    await expect(plan(formatLsn(commitLsn))).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
  })

  test('from the table the whole transaction is in, also where an entry ends at its commit LSN', async () => {
    await entryAt(stored)
    // As if it had been written before the transaction got its id.
    await entryAt(commitLsn)
    const { xid } = (await client.query('SELECT pg_current_xact_id()::text AS xid')).rows[0]
    await entryAt(commitLsn + 100n)
    const text = 'SELECT pg_visible_in_snapshot($1::xid8, $2::pg_snapshot) AS visible'
    // From its commit LSN on too, which once was an empty range.
    for (const from of [stored, commitLsn]) {
      const found = (await plan(formatLsn(from), undefined, { source: 'table' })).plan
      expect((await client.query(text, [xid, found.toSnapshot])).rows[0]).toEqual({ visible: true })
      expect(found.range).toMatchObject({ from: { lsn: from, rows: 0 }, to: { lsn: commitLsn + 1n, rows: 0 } })
      expect(isEmptyRange(found.range)).toBe(false)
    }
  })
})

// It chose the WAL by slots that were read before a search of minutes, and was refused then.
test('the source is chosen by the slots that are there once an event is found', async () => {
  const anchor = anchorName(slot, new Date())!
  await copySlot(client, slot, anchor)
  const entry = (await recordHistory(client, slot, 'interval'))!
  await client.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn()')
  const commitLsn = await walEnd()
  await client.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn()')
  facts = await readReplayFacts(client, database.url, slot)
  const findEvent: FindEvent = async () => {
    await client.query('SELECT pg_drop_replication_slot($1)', [anchor])
    await client.query('SELECT pg_replication_slot_advance($1, pg_current_wal_insert_lsn())', [slot])
    return { commitLsn, ordinal: 0 }
  }
  const { plan: found } = await plan('event:a', undefined, { findEvent })
  expect(found).toMatchObject({ source: 'table', range: { from: { lsn: commitLsn, rows: 0 } } })
  expect(found.fromSnapshot).toBe(entry.snapshot)
})

// By LSN the start lies before the end, and the range was empty: 0 events published, exit code 0.
test('two times between the same two entries are refused when they are swapped', async () => {
  await expect(plan('2001-01-31T12:00:05Z', '2001-01-31T12:00:02Z')).rejects.toMatchObject({
    code: 'USAGE',
    message: '--to 2001-01-31T12:00:02Z lies before --from 2001-01-31T12:00:05Z',
  })
  // In this order they are refused for another reason.
  await expect(plan('2001-01-31T12:00:02+02:00', '2001-01-31T12:00:01')).rejects.toMatchObject({
    code: 'REPLAY_OUT_OF_REACH',
  })
})

// By time the entry at 0/300 was a minute and more older than the last one; it was written five seconds before it.
test('a start some way before an event that only the table has goes by the order of the WAL', async () => {
  for (const [n, time] of ['12:00:00', '12:02:30', '12:00:05', '12:00:10'].entries()) {
    await entryAt(BigInt(0x100 * (n + 1)), `2001-01-31 ${time}`)
  }
  const { rows } = await client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('a', '1', 'T') RETURNING id`,
  )
  const found = await plan(`event:${rows[0].id}`, undefined, { source: 'table' })
  expect(found.plan.range.from).toEqual({ lsn: 0x100n, rows: 0 })
})
