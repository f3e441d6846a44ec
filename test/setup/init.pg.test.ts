import type pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { type InitOptions, runInit } from '../../src/setup/init.ts'
import type { InitStep } from '../../src/setup/init-step.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let slot: string

beforeEach(async () => {
  database = await freshDatabase()
  slot = uniqueName('init')
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
})

afterEach(async () => {
  await endControl(client)
  await database.drop()
})

function init(changes: Partial<InitOptions> = {}): Promise<InitStep[]> {
  return runInit({
    url: database.url,
    slot,
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap: false,
    ...changes,
  })
}

const outcomes = (steps: readonly InitStep[]) => steps.map((step) => `${step.outcome} ${step.name}`)

async function one(sql: string, values: unknown[] = []): Promise<Record<string, unknown>> {
  return (await client.query(sql, values)).rows[0]
}

const checkpoint = () =>
  one('SELECT lsn::text, version::int, epoch::int FROM wal2rabbit.checkpoint WHERE slot = $1', [slot])
const slotLsn = async () =>
  (await one('SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1', [slot])).lsn
const dropSlot = () => client.query('SELECT pg_drop_replication_slot($1)', [slot])
const insertEvent = () =>
  client.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, payload) VALUES ('a', '1', 'T', '{}')`)

test('a fresh database gets everything, and the checkpoint stands where the slot does', async () => {
  expect(outcomes(await init())).toEqual([
    'created schema wal2rabbit',
    'created table "public"."outbox"',
    'created publication "outbox_events"',
    `created slot ${slot}`,
    'created checkpoint',
  ])
  expect(await checkpoint()).toEqual({ lsn: await slotLsn(), version: 1, epoch: 0 })
  expect(await one('SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication')).toEqual({
    pubinsert: true,
    pubupdate: false,
    pubdelete: false,
    pubtruncate: false,
    pubviaroot: true,
  })
  expect(await one('SELECT kind FROM wal2rabbit.checkpoint_history')).toEqual({ kind: 'start' })
  await insertEvent()
  expect(
    await one("SELECT headers, created_at IS NOT NULL AS at, transaction_id::text ~ '^\\d+$' AS xid FROM outbox"),
  ).toEqual({
    headers: {},
    at: true,
    xid: true,
  })
})

test('repeated, it keeps everything, also what has moved on since', async () => {
  await init()
  await client.query(`UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_lsn(), version = 7`)
  const before = await checkpoint()
  expect(new Set((await init()).map((step) => step.outcome))).toEqual(new Set(['kept']))
  expect(await checkpoint()).toEqual(before)
})

test('two at once do it once', async () => {
  const both = await Promise.all([init(), init()])
  const created = both.flat().filter((step) => step.outcome === 'created')
  expect(created.map((step) => step.name).sort()).toEqual(
    [
      'checkpoint',
      'publication "outbox_events"',
      'schema wal2rabbit',
      `slot ${slot}`,
      'table "public"."outbox"',
    ].sort(),
  )
})

test('a dry run tells the SQL and changes nothing', async () => {
  const steps = await init({ dryRun: true })
  expect(steps.map((step) => step.outcome)).toEqual(Array(5).fill('created'))
  expect(
    await one(
      `SELECT to_regnamespace('wal2rabbit') AS schema, to_regclass('outbox') AS outbox,
    (SELECT count(*)::int FROM pg_publication) AS publications,
    (SELECT count(*)::int FROM pg_replication_slots WHERE slot_name = $1) AS slots`,
      [slot],
    ),
  ).toEqual({
    schema: null,
    outbox: null,
    publications: 0,
    slots: 0,
  })
  // As "psql -f" runs it: each statement ends in a semicolon and is sent by itself.
  const script = steps.map(({ name, sql }) => `-- ${name}\n${sql.trim()}\n`).join('\n')
  for (const statement of script.split(/;$/m).slice(0, -1)) await client.query(statement)
  expect(script.split(/;$/m).at(-1)!.trim()).toBe('')
  for (const { sql } of steps) expect(sql.trim()).toMatch(/;$/)
  expect(new Set((await init()).map((step) => step.outcome))).toEqual(new Set(['kept']))
})

test('a table of another name is created under it', async () => {
  await init({ table: '"Out.box"' })
  expect(await one(`SELECT to_regclass('public."Out.box"') IS NOT NULL AS found`)).toEqual({ found: true })
})

const debeziumDdl = `CREATE TABLE outboxevent (id uuid PRIMARY KEY, aggregatetype varchar(255) NOT NULL,
  aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, payload jsonb)`

test('a table made for Debezium is used as it is', async () => {
  await client.query(debeziumDdl)
  const steps = await init({ table: 'public.outboxevent', columns: 'debezium' })
  expect(outcomes(steps)[1]).toBe('kept table "public"."outboxevent"')
  expect(
    await one(`SELECT count(*)::int AS columns FROM information_schema.columns WHERE table_name = 'outboxevent'`),
  ).toEqual({ columns: 5 })
})

test('a table is not created for columns that are not ours, and one without them is refused', async () => {
  await expect(init({ columns: 'debezium' })).rejects.toMatchObject({ code: 'TABLE_MISSING' })
  await client.query(debeziumDdl)
  await expect(init({ table: 'outboxevent' })).rejects.toMatchObject({
    code: 'COLUMN_MISSING',
    message: expect.stringContaining('aggregate_type'),
  })
  await client.query('ALTER TABLE outboxevent SET UNLOGGED')
  await expect(init({ table: 'outboxevent', columns: 'debezium' })).rejects.toMatchObject({ code: 'TABLE_NOT_LOGGED' })
})

test('a generated column cannot be mapped: it is not in the stream', async () => {
  await client.query(debeziumDdl.replace('type varchar(255) NOT NULL', `type text GENERATED ALWAYS AS ('T') STORED`))
  await expect(init({ table: 'outboxevent', columns: 'debezium' })).rejects.toMatchObject({
    code: 'COLUMN_MISSING',
    message: expect.stringContaining('"type"'),
  })
})

test('a partitioned table is published under its own name', async () => {
  const { readFile } = await import('node:fs/promises')
  await client.query(await readFile(new URL('../../sql/outbox-partitioned.sql', import.meta.url), 'utf8'))
  expect(outcomes(await init())[1]).toBe('kept table "public"."outbox"')
  await insertEvent()
  const { rows } = await client.query(
    `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL,
    'proto_version', '1', 'publication_names', 'outbox_events')`,
    [slot],
  )
  const inserts = rows.map((row) => row.data as Buffer).filter((data) => data[0] === 'I'.charCodeAt(0))
  const { oid } = await one(`SELECT 'outbox'::regclass::oid::int AS oid`)
  expect(inserts.map((data) => data.readUInt32BE(1))).toEqual([oid])
})

test('a publication that lacks only the table is given it, any other fault is left to the operator', async () => {
  await client.query('CREATE PUBLICATION outbox_events')
  expect(outcomes(await init())[2]).toBe('changed publication "outbox_events"')
  await client.query(`ALTER PUBLICATION outbox_events SET (publish = 'update')`)
  await expect(init()).rejects.toMatchObject({
    code: 'PUBLICATION_INCOMPLETE',
    message: expect.stringContaining('does not publish inserts'),
  })
})

test('a publication that is younger than the slot comes with a warning', async () => {
  await init()
  await client.query('DROP PUBLICATION outbox_events')
  await insertEvent()
  const publication = (await init())[2]
  expect(publication).toMatchObject({
    outcome: 'created',
    detail: expect.stringContaining('"publish again" in docs/operations.md'),
  })
  expect(
    await one('SELECT transaction_id < unstreamed_below AS unstreamed FROM outbox, wal2rabbit.checkpoint'),
  ).toEqual({ unstreamed: true })
})

test('a slot without a checkpoint is adopted where it stands', async () => {
  await init()
  const before = await checkpoint()
  await client.query('DELETE FROM wal2rabbit.checkpoint')
  await insertEvent()
  expect(outcomes(await init()).slice(3)).toEqual([`kept slot ${slot}`, 'created checkpoint'])
  expect(await checkpoint()).toEqual(before)
})

test('a slot without a checkpoint that is of another plugin is refused', async () => {
  await client.query(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, [slot])
  await expect(init()).rejects.toMatchObject({ code: 'SLOT_WRONG_PLUGIN' })
})

test('what is older than the slot, or in a gap, counts as never streamed', async () => {
  const isStreamed = async () =>
    (
      await one(`SELECT o.transaction_id >= c.unstreamed_below AS streamed FROM wal2rabbit.checkpoint c, outbox o
      ORDER BY created_at DESC LIMIT 1`)
    ).streamed
  await init()
  await insertEvent()
  expect(await isStreamed()).toBe(true)
  await init()
  expect(await isStreamed()).toBe(true)
  // A slot that is adopted may have been made after it.
  await client.query('DELETE FROM wal2rabbit.checkpoint')
  await init()
  expect(await isStreamed()).toBe(false)
  await insertEvent()
  expect(await isStreamed()).toBe(true)
  await dropSlot()
  await init({ acceptGap: true })
  expect(await isStreamed()).toBe(false)
  await insertEvent()
  expect(await isStreamed()).toBe(true)
})

test('a dropped slot is never made anew behind the back of the operator', async () => {
  await init()
  const before = await checkpoint()
  await dropSlot()
  await insertEvent()
  await expect(init()).rejects.toMatchObject({
    code: 'SLOT_MISSING',
    action: 'halt',
    message: expect.stringContaining(`LSN ${before.lsn} was stored for it`),
  })
  await expect(init()).rejects.toThrow('"wal2rabbit init --accept-gap" goes on without them: it makes the slot anew')
  expect(await slotExists()).toBe(false)
  expect(await checkpoint()).toEqual(before)
})

test('an accepted gap makes slot and checkpoint anew, and is on record', async () => {
  await init()
  const before = await checkpoint()
  await dropSlot()
  await insertEvent()
  const planned = await init({ acceptGap: true, dryRun: true })
  expect(outcomes(planned).slice(3)).toEqual([`created slot ${slot}`, 'changed checkpoint'])
  for (const { sql } of planned.slice(3)) expect(sql).toMatch(/;$/)
  expect(await slotExists()).toBe(false)
  const steps = await init({ acceptGap: true })
  const after = await checkpoint()
  expect(outcomes(steps)).toEqual(outcomes(planned))
  expect(steps[4]?.detail).toContain(`gap accepted (SLOT_MISSING): events between ${before.lsn} and ${after.lsn}`)
  expect(after).toEqual({ lsn: await slotLsn(), version: 2, epoch: 1 })
  expect(await one('SELECT kind, lsn::text FROM wal2rabbit.checkpoint_history ORDER BY id DESC LIMIT 1')).toEqual({
    kind: 'gap',
    lsn: after.lsn,
  })
  expect(new Set((await init()).map((step) => step.outcome))).toEqual(new Set(['kept']))
})

test('a slot that was dropped and made anew under its name is refused, until the gap is accepted', async () => {
  await init()
  await dropSlot()
  await insertEvent()
  await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
  await expect(init()).rejects.toMatchObject({
    code: 'SLOT_AHEAD',
    message: expect.stringContaining('moves the checkpoint to'),
  })
  const steps = await init({ acceptGap: true })
  expect(outcomes(steps).slice(3)).toEqual([`kept slot ${slot}`, 'changed checkpoint'])
  expect((await checkpoint()).lsn).toBe(await slotLsn())
})

test('a slot that somebody advanced is refused', async () => {
  await init()
  await insertEvent()
  await client.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [slot])
  await expect(init()).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
})

test('accepting a gap where there is none changes nothing', async () => {
  await init()
  const before = await checkpoint()
  expect(new Set((await init({ acceptGap: true })).map((step) => step.outcome))).toEqual(new Set(['kept']))
  expect(await checkpoint()).toEqual(before)
})

test('a checkpoint of another cluster or beyond the WAL is refused', async () => {
  await init()
  await client.query(`UPDATE wal2rabbit.checkpoint SET lsn = 'FFFFFF/0'`)
  await expect(init()).rejects.toMatchObject({ code: 'STORED_AHEAD_OF_WAL' })
  await client.query(`UPDATE wal2rabbit.checkpoint SET system_identifier = '1'`)
  await expect(init()).rejects.toMatchObject({ code: 'SYSTEM_CHANGED' })
})

test('while the slot waits for an older transaction, the operator is told', async () => {
  await init()
  await dropSlot()
  const writer = await connectControl({ url: database.url, applicationName: 'writer', statementTimeout: 0 })
  await writer.query('BEGIN')
  await writer.query('CREATE TABLE older ()')
  const notice = new Promise<string>((resolve) => {
    void init({ acceptGap: true, onNotice: resolve }).then(() => resolve('done without a notice'))
  })
  expect(await notice).toContain('waits for the transactions that were already writing')
  await writer.query('COMMIT')
  await endControl(writer)
  await expect.poll(async () => (await checkpoint()).version, { timeout: 10_000 }).toBe(2)
})

async function slotExists(): Promise<boolean> {
  return (
    (await one('SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1) AS found', [slot])).found === true
  )
}
