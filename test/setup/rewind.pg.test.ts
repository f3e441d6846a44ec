import { once } from 'node:events'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { describeWork } from '../../src/cli/rewind.ts'
import { anchorName } from '../../src/replay/anchor-name.ts'
import { parsePosition } from '../../src/replay/position.ts'
import { insertReplay, lockKeySql } from '../../src/replay/replay-record.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { locateStart, type Place } from '../../src/setup/locate-position.ts'
import { readReplayFacts } from '../../src/setup/replay-facts.ts'
import { type RewindOptions, type RewindWork, runRewind } from '../../src/setup/rewind.ts'
import { copySlot, listSlots } from '../../src/source/slot.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let slot: string
let anchor: string

beforeEach(async () => {
  database = await freshDatabase()
  slot = uniqueName('rewind')
  anchor = anchorName(slot, new Date())!
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  await init()
})

afterEach(async () => {
  await endControl(client)
  await database.drop()
})

function init(acceptGap = false): Promise<unknown> {
  const names = { url: database.url, slot, publication: slot, table: 'public.outbox' }
  return runInit({ ...names, plugin: 'pgoutput', columns: 'default', broker: undefined, dryRun: false, acceptGap })
}

async function one(text: string, values: unknown[] = [slot]): Promise<Record<string, unknown>> {
  return (await client.query({ text, values })).rows[0]
}

/** Inserts an event; gives the WAL end after it. */
async function insert(): Promise<string> {
  await client.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, payload) VALUES ('a', '1', 'T', '{}')`)
  return String((await one('SELECT pg_current_wal_insert_lsn()::text AS lsn', [])).lsn)
}

/** What a bridge would have done up to `lsn`: stored, recorded, acknowledged. */
async function bridgeStored(lsn: string, events: number): Promise<void> {
  await client.query({
    text: `UPDATE wal2rabbit.checkpoint SET lsn = $2, events = events + $3, version = version + 1, owner = 'b' WHERE slot = $1`,
    values: [slot, lsn, events],
  })
  await client.query({
    text: `INSERT INTO wal2rabbit.checkpoint_history (slot, lsn, events, snapshot, snapshot_wal_end, kind, system_identifier, timeline)
      SELECT slot, lsn, events, pg_current_snapshot(), lsn, 'interval', system_identifier, timeline FROM wal2rabbit.checkpoint WHERE slot = $1`,
    values: [slot],
  })
  await client.query({ text: 'SELECT pg_replication_slot_advance($1, $2)', values: [slot, lsn] })
}

/** An anchor, and three events of which all are stored; gives the stored LSN after each. */
async function history(): Promise<[string, string, string]> {
  await copySlot(client, slot, anchor)
  const lsns = []
  for (let n = 0; n < 3; n++) {
    lsns.push(await insert())
    await bridgeStored(lsns.at(-1)!, 1)
  }
  return lsns as [string, string, string]
}

/** Events are in no WAL here; `transaction`: of the row that the table has of them. */
async function locate(text: string, transaction?: string): Promise<Place> {
  const facts = await readReplayFacts(client, database.url, slot)
  const context = { client, facts, findEvent: async () => undefined, transactionOf: async () => transaction }
  return locateStart(context, parsePosition(text, '--to'), '--to')
}

const said: string[] = []

function rewind(request: string, changes: Partial<RewindOptions> = {}): Promise<RewindWork> {
  said.length = 0
  return runRewind({
    url: database.url,
    slot,
    plugin: 'pgoutput',
    startedBy: 'ann@shop1',
    request:
      request === 'resume' || request === 'abort' ? { kind: request } : { kind: 'to', locate: () => locate(request) },
    apply: true,
    slotTimeout: 500,
    onStep: (text) => said.push(text),
    ...changes,
  })
}

/** Ends a rewind after so many steps, as if it were killed there. */
async function interrupted(request: string, steps: number): Promise<void> {
  let left = steps
  const onStep = () => {
    if (--left === 0) throw new Error('interrupted')
  }
  await expect(rewind(request, { onStep })).rejects.toThrow('interrupted')
}

const checkpoint = () =>
  one('SELECT lsn::text, partial_rows::int AS rows, events::int, epoch::int FROM wal2rabbit.checkpoint WHERE slot = $1')
const slots = async () =>
  Object.fromEntries((await listSlots(client, slot)).map((one) => [one.name, one.confirmedFlushLsn]))

test('the stored position is moved back and the slot replaced through the anchor; nothing else is left', async () => {
  const [first, , third] = await history()
  const work = await rewind(first)
  expect(work).toMatchObject({
    kind: 'begin',
    plan: { bytes: parseLsn(third) - parseLsn(first), eventsAtMost: 2n, baseSlot: anchor },
  })
  expect(said).toEqual([
    'no bridge may start until this is finished',
    `copied slot ${anchor} to ${slot}_rewind`,
    `moved the stored position to ${first}`,
    `dropped slot ${slot}`,
    `copied slot ${slot}_rewind to ${slot}`,
    `dropped slot ${slot}_rewind`,
    'bridges may start again',
  ])
  expect(await checkpoint()).toEqual({ lsn: first, rows: null, events: 3, epoch: 2 })
  const left = await slots()
  expect(Object.keys(left).sort()).toEqual([slot, anchor])
  expect(left[slot]).toBe(left[anchor])
  expect(await one('SELECT count(*)::int AS n FROM wal2rabbit.rewind', [])).toEqual({ n: 0 })
  expect(await one('SELECT kind, lsn::text FROM wal2rabbit.checkpoint_history ORDER BY id DESC LIMIT 1', [])).toEqual({
    kind: 'rewind',
    lsn: first,
  })
  await expect(init()).resolves.toBeDefined()
})

test('without apply nothing changes, and the plan is the same', async () => {
  const [first] = await history()
  const before = [await checkpoint(), await slots()]
  expect(await rewind(first, { apply: false })).toMatchObject({
    kind: 'begin',
    plan: { eventsAtMost: 2n },
    inUse: false,
  })
  expect([await checkpoint(), await slots()]).toEqual(before)
})

// Consumers got what lies in both ranges twice, and nobody had said so.
test('replays that run are named, not those that a crash left behind', async () => {
  const [first] = await history()
  const range = { from: { lsn: parseLsn(first), rows: 0 }, to: { lsn: parseLsn(first) + 1n, rows: 0 } }
  const snapshots = { fromSnapshot: undefined, toSnapshot: undefined }
  const plan = { source: 'wal', range, ...snapshots, systemIdentifier: '1', timeline: 1 } as const
  const start = { lsn: range.from.lsn, partial: null }
  const record = { slot, kind: 'replay', startedBy: 'ann@shop1', request: { from: first, where: [] }, plan } as const
  for (const id of ['running', 'crashed']) await insertReplay(client, { ...record, id }, start)
  await client.query(`SELECT pg_advisory_lock(${lockKeySql(`'running'`)})`)
  const work = await rewind(first, { apply: false })
  expect(work).toMatchObject({ replays: [{ id: 'running', startedBy: 'ann@shop1' }] })
  expect(describeWork(slot, work).join('\n')).toContain('Replay running is running (by ann@shop1)')
})

/** Of the live slot; undefined before version 17. */
const failover = async () =>
  (await one(`SELECT to_jsonb(s)->'failover' AS failover FROM pg_replication_slots s WHERE slot_name = $1`))?.failover

// 6: made anew, and the copy dropped; 7: nothing is left but to forget the intent.
test.for([0, 4, 5, 6, 7])('failover is put back, also when interrupted after step %i', async (steps, context) => {
  if ((await failover()) === null) return context.skip('PostgreSQL has it from 17 on')
  slot = uniqueName('failover')
  anchor = anchorName(slot, new Date())!
  await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`, [slot])
  await init()
  const [first] = await history()
  if (steps === 0) {
    const work = await rewind(first)
    expect(work).toMatchObject({ plan: { failover: true } })
    expect(describeWork(slot, work).join('\n')).toContain(`a copy of ${anchor}, which gets failover = true again`)
    expect(said.slice(-2)).toEqual([`gave slot ${slot} failover = true again`, 'bridges may start again'])
  } else {
    await interrupted(first, steps)
    expect(await failover()).toBe(steps === 7 ? true : steps === 4 ? undefined : false)
    await rewind('resume')
  }
  expect(await failover()).toBe(true)
  expect(Object.keys(await slots()).sort()).toEqual([slot, anchor])
})

test('what the slot was never told of needs no other slot', async () => {
  const first = await insert()
  await client.query({
    text: 'UPDATE wal2rabbit.checkpoint SET lsn = $2, version = version + 1 WHERE slot = $1',
    values: [slot, first],
  })
  const [{ lsn }] = [
    await one('SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1'),
  ]
  const work = await rewind(String(lsn))
  expect(work).toMatchObject({ plan: { baseSlot: slot } })
  expect(said).toEqual([
    'no bridge may start until this is finished',
    `moved the stored position to ${lsn}`,
    'bridges may start again',
  ])
  expect(await checkpoint()).toMatchObject({ lsn })
})

test('where the position stands already there is nothing to do', async () => {
  const [, , third] = await history()
  const before = [await checkpoint(), await slots()]
  expect(await rewind(third)).toEqual({ kind: 'nothing' })
  expect(await rewind('resume')).toEqual({ kind: 'nothing' })
  expect(await rewind('abort')).toEqual({ kind: 'nothing' })
  expect([await checkpoint(), await slots()]).toEqual(before)
})

test('a position within the stored rows of a transaction is moved back to its beginning', async () => {
  const [, , third] = await history()
  await client.query({
    text: `UPDATE wal2rabbit.checkpoint SET partial_commit_lsn = lsn, partial_rows = 5, version = version + 1 WHERE slot = $1`,
    values: [slot],
  })
  expect(await rewind(third)).toMatchObject({ kind: 'begin', plan: { bytes: 0n, baseSlot: slot } })
  expect(await checkpoint()).toMatchObject({ lsn: third, rows: null })
})

test('the commit LSN of a transaction that is settled in part is moved back to what is stored before it', async () => {
  const [, , third] = await history()
  const { at } = await one(
    `UPDATE wal2rabbit.checkpoint SET partial_commit_lsn = lsn + 64, partial_rows = 5, version = version + 1 WHERE slot = $1
    RETURNING partial_commit_lsn::text AS at`,
  )
  await interrupted(String(at), 1)
  expect(await rewind(String(at))).toMatchObject({ kind: 'resume', intent: { target: { partial: null } } })
  expect(await checkpoint()).toMatchObject({ lsn: third, rows: null })
})

test('what cannot be is refused before anything changes', async () => {
  const [first] = await history()
  const before = [await checkpoint(), await slots()]
  await expect(rewind('F/0')).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
  await expect(rewind('0/1')).rejects.toMatchObject({
    code: 'REPLAY_OUT_OF_REACH',
    message: expect.stringMatching(/oldest position that a slot reaches back to is [0-9A-F]+\/[0-9A-F]+$/),
  })
  await expect(rewind('nowhere')).rejects.toMatchObject({ code: 'POSITION_UNKNOWN' })
  await expect(rewind(first, { plugin: 'wal2json' })).rejects.toMatchObject({ code: 'SLOT_WRONG_PLUGIN' })
  expect([await checkpoint(), await slots()]).toEqual(before)
})

test('an event that is not settled yet lies ahead: it was once taken for one that the WAL had lost', async () => {
  await history()
  const transaction = (id: string) => one('SELECT transaction_id::text AS xid FROM outbox WHERE id = $1', [id])
  const { id } = await one('SELECT id FROM outbox ORDER BY created_at LIMIT 1', [])
  const settled = await transaction(String(id))
  await insert()
  const newest = await one('SELECT transaction_id::text AS xid FROM outbox ORDER BY created_at DESC LIMIT 1', [])
  await expect(locate('event:newest', String(newest.xid))).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
  // What the WAL has indeed lost is not ahead.
  await client.query({ text: 'SELECT pg_drop_replication_slot($1)', values: [anchor] })
  const lost = await locate('event:lost', String(settled.xid)).catch((error: unknown) => error)
  expect(lost).not.toMatchObject({ code: 'POSITION_AHEAD' })
})

test('to a time: it begins at what was stored well before it, and a time before everything is told as such', async () => {
  await copySlot(client, slot, anchor)
  const first = await insert()
  await bridgeStored(first, 1)
  await client.query(`UPDATE wal2rabbit.checkpoint_history SET stored_at = stored_at - interval '5 seconds'`)
  const { at, earlier } = await one(
    `SELECT clock_timestamp() AS at, clock_timestamp() - interval '1 day' AS earlier`,
    [],
  )
  await bridgeStored(await insert(), 1)
  await expect(rewind((earlier as Date).toISOString())).rejects.toMatchObject({
    code: 'REPLAY_OUT_OF_REACH',
    message: expect.stringContaining('a time before the first stored LSN is out of reach: the oldest position'),
  })
  await rewind((at as Date).toISOString())
  expect(await checkpoint()).toMatchObject({ lsn: first })
})

test('without a free slot it is refused before anything changes', async () => {
  const [first] = await history()
  const text = `SELECT pg_create_physical_replication_slot('full_' || n) FROM generate_series(1, current_setting('max_replication_slots')::int
    - (SELECT count(*)::int FROM pg_replication_slots)) n`
  // What ended with a connection of the test before is gone in a moment.
  const passing = 'SELECT count(*)::int AS n FROM pg_replication_slots WHERE temporary'
  await expect.poll(async () => (await one(passing, [])).n).toBe(0)
  await client.query(text)
  try {
    const before = [await checkpoint(), await slots()]
    await expect(rewind(first)).rejects.toMatchObject({
      code: 'SOURCE_TOO_MANY_CONNECTIONS',
      message: expect.stringContaining('max_replication_slots'),
    })
    expect([await checkpoint(), await slots()]).toEqual(before)
  } finally {
    await client.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE starts_with(slot_name, 'full_')`,
    )
  }
})

test('a slot whose name is too long for anchors reaches back no further than it stands', async () => {
  slot = `${uniqueName('long')}${'x'.repeat(36)}`
  expect(slot.length).toBeGreaterThan(56)
  await init()
  const anchorOfAnother = `${slot.slice(0, 40)}_a`
  await copySlot(client, slot, anchorOfAnother)
  const first = await insert()
  await bridgeStored(first, 1)
  await insert()
  // Nothing of that name can be an anchor either, so it is out of reach before the name counts.
  await expect(rewind('0/1')).rejects.toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
})

test('a slot with the longest name is moved back as far as it stands, and is not taken for its own copy', async () => {
  slot = `${uniqueName('longest')}${'x'.repeat(63)}`.slice(0, 63)
  await init()
  const from = String((await one('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint WHERE slot = $1')).lsn)
  const first = await insert()
  // Stored, and not yet told to the slot: as after a crash of the server.
  await client.query({
    text: 'UPDATE wal2rabbit.checkpoint SET lsn = $2, version = version + 1 WHERE slot = $1',
    values: [slot, first],
  })
  await rewind(from)
  expect(await checkpoint()).toMatchObject({ lsn: from })
  expect(Object.keys(await slots())).toEqual([slot])
})

test('a slot of another bridge that has the name of the copy is not touched', async () => {
  const [first] = await history()
  const other = `${slot}_rewind`
  const names = { url: database.url, slot: other, publication: slot, table: 'public.outbox' }
  await runInit({
    ...names,
    plugin: 'pgoutput',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap: false,
  })
  const before = [await checkpoint(), await slots()]
  await expect(rewind(first)).rejects.toMatchObject({
    code: 'SLOT_NAME_TAKEN',
    message: `slot ${other} is that of another bridge, and a rewind of slot ${slot} needs that name for a copy`,
  })
  await client.query({ text: 'DELETE FROM wal2rabbit.checkpoint WHERE slot = $1', values: [other] })
  await expect(rewind(first)).rejects.toMatchObject({ code: 'SLOT_NAME_TAKEN' })
  expect([await checkpoint(), await slots()]).toEqual(before)
})

test('a slot in use is waited for, and then refused', async () => {
  const [first] = await history()
  const holder = await hold()
  await expect(rewind(first)).rejects.toMatchObject({
    code: 'BRIDGE_RUNNING',
    message: expect.stringMatching(/server pid \d+/),
  })
  expect(await rewind(first, { apply: false })).toMatchObject({ inUse: true })
  const done = rewind(first, { slotTimeout: 10_000 })
  await holder.letGo()
  await expect(done).resolves.toMatchObject({ kind: 'begin' })
})

// It resumed before the intent was written, so it does not know; it lets go once it finds that it cannot claim.
test('a bridge that takes the slot after the intent was written is waited for before the slot is dropped', async () => {
  const [first] = await history()
  await interrupted(first, 3)
  const holder = await hold()
  await expect(rewind('resume')).rejects.toMatchObject({ code: 'BRIDGE_RUNNING' })
  expect(Object.keys(await slots()).sort()).toEqual([slot, anchor, `${slot}_rewind`])
  const done = rewind('resume', { slotTimeout: 10_000 })
  await holder.letGo()
  await expect(done).resolves.toMatchObject({ kind: 'resume' })
  expect((await checkpoint()).lsn).toBe(first)
})

test('a checkpoint that changes while the rewind looks at it is a bridge at work', async () => {
  const [first] = await history()
  const onWork = async () => {
    await client.query({
      text: 'UPDATE wal2rabbit.checkpoint SET version = version + 1 WHERE slot = $1',
      values: [slot],
    })
  }
  await expect(rewind(first, { onWork })).rejects.toMatchObject({ code: 'BRIDGE_RUNNING' })
  expect(await one('SELECT count(*)::int AS n FROM wal2rabbit.rewind', [])).toEqual({ n: 0 })
})

test.each([1, 2, 3, 4, 5, 6])(
  'interrupted after step %i it shuts out init, and is finished by --resume',
  async (steps) => {
    const [first, second] = await history()
    await interrupted(first, steps)
    for (const acceptGap of [false, true])
      await expect(init(acceptGap)).rejects.toMatchObject({ code: 'REWIND_UNFINISHED' })
    await expect(rewind(second)).rejects.toMatchObject({ code: 'REWIND_UNFINISHED' })
    expect(await rewind('resume', { apply: false })).toMatchObject({ kind: 'resume' })
    expect(await rewind(steps % 2 === 0 ? 'resume' : first)).toMatchObject({
      kind: 'resume',
      intent: { baseSlot: anchor },
    })
    expect(await checkpoint()).toMatchObject({ lsn: first, events: 3 })
    expect(Object.keys(await slots()).sort()).toEqual([slot, anchor])
    await expect(init()).resolves.toBeDefined()
    const kinds = await client.query(`SELECT kind FROM wal2rabbit.checkpoint_history WHERE kind = 'rewind'`)
    expect(kinds.rows).toHaveLength(1)
  },
)

test.each([1, 2, 3])('given up after step %i, position and slot are as they were', async (steps) => {
  const [first, , third] = await history()
  await client.query({
    text: `UPDATE wal2rabbit.checkpoint SET partial_commit_lsn = lsn, partial_rows = 7, version = version + 1 WHERE slot = $1`,
    values: [slot],
  })
  const before = await slots()
  await interrupted(first, steps)
  expect(await rewind('abort', { apply: false })).toMatchObject({ kind: 'abort' })
  await rewind('abort')
  expect(await checkpoint()).toMatchObject({ lsn: third, rows: 7, events: 3 })
  expect(await slots()).toEqual(before)
  await expect(init()).resolves.toBeDefined()
})

test('once the live slot is dropped it cannot be given up', async () => {
  const [first] = await history()
  await interrupted(first, 4)
  await expect(rewind('abort')).rejects.toMatchObject({ code: 'REWIND_UNFINISHED' })
  await rewind('resume')
})

test('when nothing reaches back any more it can be given up, and the gap accepted', async () => {
  const [first] = await history()
  await interrupted(first, 4)
  for (const name of [anchor, `${slot}_rewind`])
    await client.query({ text: 'SELECT pg_drop_replication_slot($1)', values: [name] })
  await expect(rewind('resume')).rejects.toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
  await rewind('abort')
  await expect(init()).rejects.toMatchObject({ code: 'SLOT_MISSING' })
  await expect(init(true)).resolves.toBeDefined()
})

// An anchor is as good as the slot that somebody dropped or moved: nothing need be lost.
test.each(['dropped', 'moved'])(
  'a live slot that was %s by somebody is put back by a rewind to the stored position',
  async (how) => {
    const [, , third] = await history()
    if (how === 'dropped') await client.query({ text: 'SELECT pg_drop_replication_slot($1)', values: [slot] })
    else await client.query({ text: 'SELECT pg_replication_slot_advance($1, $2)', values: [slot, await insert()] })
    await expect(init()).rejects.toMatchObject({ code: how === 'dropped' ? 'SLOT_MISSING' : 'SLOT_AHEAD' })
    expect(await rewind(third)).toMatchObject({ kind: 'begin', plan: { eventsAtMost: 0n } })
    await expect(init()).resolves.toBeDefined()
    const left = await slots()
    expect(left[slot]).toBe(left[anchor])
  },
)

test('two rewinds at once take turns', async () => {
  const [first, second] = await history()
  const both = await Promise.allSettled([rewind(second), rewind(first)])
  expect(both.map(({ status }) => status)).toContain('fulfilled')
  expect(Object.keys(await slots()).sort()).toEqual([slot, anchor])
  expect(await one('SELECT count(*)::int AS n FROM wal2rabbit.rewind', [])).toEqual({ n: 0 })
})

/** Streams from the slot, as a bridge does, until it is let go. */
async function hold(): Promise<{ letGo: () => Promise<void> }> {
  const holder = new pg.Client({ connectionString: database.url, replication: 'database' } as pg.ClientConfig)
  holder.on('error', () => undefined) // it is terminated while it streams
  await holder.connect()
  const { connection } = holder as unknown as { connection: NodeJS.EventEmitter }
  const begun = once(connection, 'replicationStart')
  const options = `("proto_version" '1', "publication_names" '${slot}')`
  const streaming = holder.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 ${options}`)
  streaming.catch(() => undefined) // as above
  await begun
  const letGo = async () => {
    await one('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1')
  }
  return { letGo }
}
