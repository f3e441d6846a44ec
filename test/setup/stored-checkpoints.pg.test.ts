import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLsn } from '../../src/base/lsn.ts'
import { recordHistory } from '../../src/checkpoint/checkpoint-history.ts'
import { columnPresets } from '../../src/routing/column-map.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import {
  type CheckpointsOptions,
  listCheckpoints,
  markCheckpoint,
  unmarkCheckpoint,
} from '../../src/setup/stored-checkpoints.ts'
import { runCommand } from '../support/bridge-process.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let options: CheckpointsOptions

beforeAll(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  const slot = uniqueName('marks')
  options = {
    url: database.url,
    slot,
    table: { schema: 'public', name: 'outbox' },
    columns: columnPresets.default,
  }
  await runInit({
    url: database.url,
    slot,
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap: false,
  })
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

const list = () => listCheckpoints({ ...options, limit: 10 })

test('init stores the first LSN, which the slot reaches back to, and the table does not', async () => {
  const { entries, reach } = await list()
  expect(entries).toEqual([
    expect.objectContaining({ kind: 'start', events: 0, timeline: expect.any(Number), replayable: ['wal'] }),
  ])
  // Its snapshot was taken after the slot was made, so the table reaches back to a little above.
  expect(reach).toEqual({
    wal: { lsn: entries[0]!.lsn, slot: options.slot, why: null },
    table: { lsn: entries[0]!.snapshotWalEnd, slot: null, why: null },
  })
})

test('a mark keeps the present stored LSN, once under each name', async () => {
  const entry = await markCheckpoint(options, 'before-v2')
  const [stored] = (await client.query('SELECT lsn::text FROM wal2rabbit.checkpoint')).rows
  expect(formatLsn(entry.lsn)).toBe(stored.lsn)
  expect((await list()).entries[0]).toMatchObject({ kind: 'mark', name: 'before-v2', lsn: stored.lsn })
  await expect(markCheckpoint(options, 'before-v2')).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('before-v2'),
  })
  await unmarkCheckpoint(options, 'before-v2')
  await expect(unmarkCheckpoint(options, 'before-v2')).rejects.toMatchObject({ code: 'USAGE' })
  await markCheckpoint(options, 'before-v2')
})

test.each(['', '16/B374D848', 'event:4711', '2026-01-31', '1st', 'a'.repeat(101)])(
  '%j is no name for a mark',
  async (name) => {
    await expect(markCheckpoint(options, name)).rejects.toMatchObject({ code: 'USAGE' })
  },
)

test('without a checkpoint there is nothing to mark', async () => {
  const other = { ...options, slot: 'nobody' }
  await expect(markCheckpoint(other, 'v2')).rejects.toMatchObject({ code: 'CHECKPOINT_MISSING' })
})

test('what the WAL no longer has comes from the table, down to what retention deleted', async () => {
  await client.query('SELECT pg_logical_emit_message(true, $1, $1)', ['x'])
  await client.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn()')
  const entry = (await recordHistory(client, options.slot, 'interval'))!
  const replayable = async () => (await list()).entries.find((one) => one.lsn === formatLsn(entry.lsn))?.replayable
  expect(await replayable()).toEqual(['wal', 'table'])

  await client.query('SELECT pg_replication_slot_advance($1, pg_current_wal_insert_lsn())', [options.slot])
  expect(await replayable()).toEqual(['table'])

  const floor = formatLsn(entry.lsn + 1n)
  await client.query('INSERT INTO wal2rabbit.outbox_retention VALUES ($1, $2, $3, 1)', [
    'public.outbox',
    floor,
    entry.systemIdentifier,
  ])
  expect(await replayable()).toEqual([])
  expect((await list()).reach.table.lsn).toBe(floor)
})

test('a table that cannot be read again says why', async () => {
  const reach = async (changes: Partial<CheckpointsOptions>) =>
    (await listCheckpoints({ ...options, ...changes, limit: 10 })).reach.table.why
  expect(await reach({ table: { schema: 'public', name: 'gone' } })).toMatch(/"gone" does not exist/)
  expect(await reach({ columns: { ...options.columns, created_at: null, transaction_id: null } })).toMatch(
    /neither a transaction_id nor a created_at/,
  )
})

test('the command prints how far back each source reaches, as text and as JSON; its list stays an array', async () => {
  const { reach } = await list()
  const env = {
    ...{ WAL2RABBIT_SOURCE_URL: options.url, WAL2RABBIT_SOURCE_SLOT: options.slot },
    WAL2RABBIT_SINK_URL: 'amqp://127.0.0.1:1',
  }
  const printed = async (...args: string[]) => (await runCommand(['checkpoints', ...args], env)).stdout
  expect(JSON.parse(await printed('--reach', '--json'))).toEqual(reach)
  expect(await printed('--reach')).toBe(
    `wal: back to ${reach.wal.lsn} (slot ${options.slot})\ntable: back to ${reach.table.lsn}\n`,
  )
  expect(JSON.parse(await printed('--json'))).toEqual((await list()).entries)
})
