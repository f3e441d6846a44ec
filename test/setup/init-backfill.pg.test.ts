import { readFile } from 'node:fs/promises'
import type pg from 'pg'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { parseTableName } from '../../src/base/sql.ts'
import { insertReplay, type ReplayProgress, updateReplay } from '../../src/replay/replay-record.ts'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { holdSnapshot } from '../../src/setup/backfill-snapshot.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import type { InitStep } from '../../src/setup/init-step.ts'
import { inspectReadableTable } from '../../src/setup/readable-table.ts'
import type { BackfillJob, PublishBackfill } from '../../src/setup/run-backfill.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let slot: string
let notices: string[]
let isFull = false

const dropFilling = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE starts_with(slot_name, 'full_')`
const partition = 'outbox_20260101'

beforeEach(async () => {
  database = await freshDatabase()
  slot = uniqueName('backfill')
  notices = []
  client = await connect()
  await client.query(await readFile(new URL('../../sql/outbox-partitioned.sql', import.meta.url), 'utf8'))
  await client.query(`CREATE TABLE ${partition} PARTITION OF outbox FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')`)
  await client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, created_at)
      SELECT 'order', '1', 'placed', '{}', CASE WHEN n < 3 THEN '2026-01-01 12:00' ELSE clock_timestamp() END FROM generate_series(1, 5) n`,
  )
})

afterEach(async () => {
  if (isFull) await client.query(dropFilling)
  isFull = false
  await endControl(client)
  await database.drop()
})

function connect(): Promise<pg.Client> {
  return connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
}

function init(backfill?: PublishBackfill, onNotice?: (text: string) => void): Promise<InitStep[]> {
  const names = { url: database.url, slot, publication: slot, table: 'public.outbox' }
  const usual = { plugin: 'pgoutput', columns: 'default', broker: undefined, dryRun: false, acceptGap: false } as const
  const say = (text: string) => {
    notices.push(text)
    onNotice?.(text)
  }
  return runInit({ ...names, ...usual, backfill, onNotice: say })
}

/** Stands in for a run that read so many rows, published them, and recorded that. */
async function published(job: BackfillJob, read: number): Promise<ReplayProgress> {
  const { lsn } = job.plan.range.to
  const counts = { read, matched: read, published: read, dead: 0, dropped: 0 }
  const progress = { settled: { lsn, partial: null }, tableKey: undefined, ...counts }
  const request = { from: 'backfill', where: [], rows: job.rows }
  const record = { kind: 'backfill', startedBy: 'ann@shop1', request, plan: job.plan } as const
  const id = uniqueName('id')
  await insertReplay(client, { ...record, id, slot }, { lsn: lsn - 1n, partial: null })
  await updateReplay(client, id, progress)
  return progress
}

async function slots(): Promise<string[]> {
  const text = 'SELECT slot_name FROM pg_replication_slots WHERE starts_with(slot_name, $1)'
  return (await client.query<{ slot_name: string }>(text, [slot])).rows.map((row) => row.slot_name)
}

/** Takes all replication slots but for so many; gives how to free one. */
async function fillSlots(left: number): Promise<() => Promise<unknown>> {
  const text = `SELECT pg_create_physical_replication_slot('full_' || n) FROM generate_series(1, current_setting('max_replication_slots')::int
    - (SELECT count(*)::int FROM pg_replication_slots) - $1::int) n`
  // What ended with a connection of the test before is gone in a moment.
  const passing =
    'SELECT count(*)::int AS n FROM pg_replication_slots WHERE temporary AND NOT starts_with(slot_name, $1)'
  await expect.poll(async () => (await client.query(passing, [slot])).rows[0].n).toBe(0)
  await client.query(text, [left])
  isFull = true
  return () => client.query(`${dropFilling} AND slot_name = 'full_1'`)
}

// It published everything, and then found that there was no slot for the stream.
test('without two free slots nothing is published', async () => {
  let asked = 0
  const publish: PublishBackfill = async () => {
    asked++
    return undefined
  }
  const free = await fillSlots(1)
  await expect(init(publish)).rejects.toMatchObject({
    code: 'SOURCE_TOO_MANY_CONNECTIONS',
    message: expect.stringMatching(/needs 2 free replication slots.* but (\d+) of \d+ \(max_replication_slots\)/),
  })
  expect(asked).toBe(0)
  await free()
  expect((await init(publish)).at(-1)?.outcome).toBe('stopped')
  expect(asked).toBe(1)
})

test('a slot that somebody took meanwhile is waited for', async () => {
  let free: () => Promise<unknown> = async () => undefined
  const publish: PublishBackfill = async (job) => {
    free = await fillSlots(0)
    return published(job, job.rows)
  }
  const steps = await init(publish, () => void free())
  expect(steps.at(-1)).toMatchObject({ name: 'checkpoint', outcome: 'created' })
  expect(notices).toEqual([expect.stringContaining(`no replication slot is free for ${slot}: drop one`)])
})

// DDL heeds no snapshot: rows went away unread, and the backfill reported success.
test('partitions stay until the rows are published', async () => {
  const other = await connect()
  onTestFinished(() => endControl(other))
  await other.query(`SET lock_timeout = '20ms'`)
  const statements = [
    `DROP TABLE ${partition}`,
    `ALTER TABLE outbox DETACH PARTITION ${partition}`,
    `TRUNCATE outbox`,
    `TRUNCATE ${partition}`,
  ]
  const refused: unknown[] = []
  const publish: PublishBackfill = async (job) => {
    expect(job.rows).toBe(5)
    for (const text of statements) refused.push(await other.query(text).catch(({ code }: { code: string }) => code))
    return undefined
  }
  await init(publish)
  expect(refused).toEqual(statements.map(() => '55P03'))
  await other.query(statements[0]!)
})

test('fewer rows than the snapshot sees are no backfill: no slot is made, and it starts over', async () => {
  await expect(init((job) => published(job, job.rows - 1))).rejects.toMatchObject({
    code: 'BACKFILL_INCOMPLETE',
    message: expect.stringContaining('sees 5 rows of table "public"."outbox", but only 4 were read'),
  })
  expect(await slots()).toEqual([])
  const { rows } = await client.query('SELECT state, error_code FROM wal2rabbit.replay')
  expect(rows).toEqual([{ state: 'failed', error_code: 'BACKFILL_INCOMPLETE' }])
  await expect(init()).rejects.toMatchObject({ code: 'SLOT_MISSING' })
  let again = 0
  await init((job) => {
    again = job.rows
    // A lost connection has some come twice.
    return published(job, job.rows + 1)
  })
  expect(again).toBe(5)
  expect(await slots()).toEqual([slot])
  const states = await client.query('SELECT state FROM wal2rabbit.replay ORDER BY started_at')
  expect(states.rows.map(({ state }) => state)).toEqual(['abandoned', 'done'])
})

test.each([`DROP TABLE ${partition}`, `TRUNCATE ${partition}`])(
  'what came between the snapshot and the lock is noticed: %s',
  async (text) => {
    const exporter = await connect()
    onTestFinished(() => endControl(exporter))
    await exporter.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    const { rows } = await exporter.query<{ id: string }>('SELECT pg_export_snapshot() AS id')
    const names = { table: parseTableName('public.outbox'), columns: resolveColumns('default'), publication: slot }
    const table = await inspectReadableTable(client, { ...names, plugin: 'pgoutput' })
    const control = { url: database.url, applicationName: 'test', statementTimeout: 0 }
    const options = { snapshotId: rows[0]!.id, table, range: {}, client, notice: () => undefined }
    const held = await holdSnapshot(control, options)
    expect(held.rows).toBe(5)
    await held.close()
    await client.query(text)
    await expect(holdSnapshot(control, options)).rejects.toMatchObject({
      code: 'BACKFILL_INCOMPLETE',
      message: expect.stringContaining(`${partition} was dropped`),
    })
  },
)
