import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Lsn, parseLsn } from '../../src/base/lsn.ts'
import type { PostgresClient } from '../../src/base/postgres-client.ts'
import { type HistoryEntry, recordHistory } from '../../src/checkpoint/checkpoint-history.ts'
import {
  findOldestSnapshot,
  findRetentionSnapshot,
  findSnapshotAfter,
  findSnapshotBefore,
} from '../../src/checkpoint/history-snapshots.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let writer: pg.Client

const server = { systemIdentifier: '7000', timeline: 1, timelineHistory: [] }
const hour = 3_600_000

beforeAll(async () => {
  database = await freshDatabase()
  const options = { url: database.url, applicationName: 'wal2rabbit-test', statementTimeout: 10_000 }
  client = await connectControl(options)
  writer = await connectControl(options)
  await migrate(client, await loadMigrations())
  await client.query('CREATE TABLE event (id int, xid xid8 DEFAULT pg_current_xact_id())')
})

afterAll(async () => {
  await endControl(client)
  await endControl(writer)
  await database.drop()
})

beforeEach(async () => {
  await client.query('TRUNCATE wal2rabbit.checkpoint, wal2rabbit.checkpoint_history, event')
  await client.query(`INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline)
    VALUES ('shop', '0/1', '7000', 1)`)
})

const record = async (): Promise<HistoryEntry> => (await recordHistory(client, 'shop', 'interval'))!

/** Records an entry that is so many hours old. */
async function recordOld(hours: number): Promise<HistoryEntry> {
  const entry = await record()
  await client.query(
    `UPDATE wal2rabbit.checkpoint_history SET stored_at = stored_at - $1 * interval '1 hour' WHERE id = $2`,
    [hours, entry.id],
  )
  return entry
}

async function seenBy(snapshot: string): Promise<number[]> {
  const text = 'SELECT id FROM event WHERE pg_visible_in_snapshot(xid, $1::pg_snapshot) ORDER BY id'
  return (await client.query(text, [snapshot])).rows.map((row) => row.id)
}

async function walEnd(): Promise<Lsn> {
  return parseLsn((await writer.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn)
}

test('snapshots count on their own cluster and timeline, those of an ancestor up to its switch', async () => {
  const entry = await record()
  const end = entry.snapshotWalEnd
  const promoted = (switchLsn: Lsn) => ({
    systemIdentifier: '7000',
    timeline: 3,
    timelineHistory: [
      { timeline: 1, switchLsn },
      { timeline: 2, switchLsn: switchLsn + 1000n },
    ],
  })
  const searches = [
    (other: typeof server | ReturnType<typeof promoted>) => findSnapshotBefore(client, 'shop', end, other),
    (other: typeof server | ReturnType<typeof promoted>) => findOldestSnapshot(client, 'shop', other),
    (other: typeof server | ReturnType<typeof promoted>) => findRetentionSnapshot(client, 'shop', end, hour, other),
    async (other: typeof server | ReturnType<typeof promoted>) =>
      (await findSnapshotAfter(client, 'shop', end, other))?.entry,
  ]
  for (const find of searches) {
    expect(await find(server)).toMatchObject({ id: entry.id })
    expect(await find({ ...server, systemIdentifier: '7001' })).toBeUndefined()
    expect(await find({ ...server, timeline: 2 })).toBeUndefined()
    expect(await find(promoted(end))).toMatchObject({ id: entry.id })
    expect(await find(promoted(end - 1n))).toBeUndefined()
  }
})

test('LSNs are compared as numbers: they were once sorted as text, where 0/FFFFFFF comes after 0/10000000', async () => {
  const ids: bigint[] = []
  for (const end of ['0/FFFFFFF', '0/10000000']) {
    const { id } = await record()
    const text = `UPDATE wal2rabbit.checkpoint_history SET snapshot_wal_end = $1,
      stored_at = stored_at - interval '1 day' WHERE id = $2`
    await client.query(text, [end, id])
    ids.push(id)
  }
  const found = [
    await findSnapshotBefore(client, 'shop', 0x2000_0000n, server),
    await findOldestSnapshot(client, 'shop', server),
    await findRetentionSnapshot(client, 'shop', 0x2000_0000n, hour, server),
    await findRetentionSnapshot(client, 'shop', 0x2000_0000n, 100 * hour, server),
  ]
  expect(found.map((entry) => entry?.id)).toEqual([ids[1], ids[0], ids[1], ids[0]])
})

test('the end of a range sees all that committed below it, also what the snapshots of the time did not', async () => {
  await writer.query('INSERT INTO event VALUES (1)')
  // Stands for a transaction whose commit record is written, but which waits for a synchronous stand-by.
  await writer.query('BEGIN')
  await writer.query('INSERT INTO event VALUES (2)')
  const to = parseLsn((await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn)
  expect(await findSnapshotAfter(client, 'shop', to, server)).toBeUndefined()
  const entry = await record()
  const later = await record()
  await writer.query('COMMIT')
  await writer.query('INSERT INTO event VALUES (3)')

  const found = (await findSnapshotAfter(client, 'shop', to, server))!
  expect(found.entry).toEqual(entry)
  expect(await seenBy(found.snapshot)).toEqual([1, 2])
  // What would be lost with the snapshots themselves, however late they were taken.
  expect(await seenBy(entry.snapshot)).toEqual([1])
  expect(await seenBy(later.snapshot)).toEqual([1])
})

test('the end of a range is not told by the entry of a rewind, whose transaction has its id before the WAL end is read', async () => {
  await client.query('BEGIN')
  await client.query(`UPDATE wal2rabbit.checkpoint SET version = version + 1 WHERE slot = 'shop'`)
  await writer.query('INSERT INTO event VALUES (1)')
  const to = await walEnd()
  const moved = (await recordHistory(client, 'shop', 'rewind'))!
  await client.query('COMMIT')
  expect(moved.snapshotWalEnd).toBeGreaterThanOrEqual(to)
  expect(await findSnapshotAfter(client, 'shop', to, server)).toBeUndefined()
  const next = await record()
  const found = (await findSnapshotAfter(client, 'shop', to, server))!
  expect(found.entry).toEqual(next)
  expect(await seenBy(found.snapshot)).toEqual([1])
})

test('the end of a range does not see what began after it', async () => {
  const before = await walEnd()
  const entry = await record()
  await writer.query('INSERT INTO event VALUES (1)')
  await record()
  const found = (await findSnapshotAfter(client, 'shop', before, server))!
  expect(found.entry).toEqual(entry)
  expect(await seenBy(found.snapshot)).toEqual([])
})

test('an entry reads its WAL end before its transaction has an id', async () => {
  // The identity column takes the id of a transaction now and then, and it is computed in the topmost node of the plan.
  let plan = ''
  const explaining: PostgresClient = {
    async query(statement) {
      if (statement.name === 'wal2rabbit_record_history') {
        const values = ['shop', '1:1:', 'start', null]
        const { rows } = await client.query({ text: `EXPLAIN (VERBOSE) ${statement.text}`, values })
        plan = rows.map((row) => String(row['QUERY PLAN'])).join('\n')
      }
      return client.query({ ...statement, name: undefined })
    },
  }
  await recordHistory(explaining, 'shop', 'start')
  const lines = plan.split('\n')
  const takesId = lines.findIndex((line) => line.includes('nextval('))
  const readsWalEnd = lines.findIndex((line) => line.includes('pg_current_wal_insert_lsn()'))
  expect(takesId).toBeGreaterThan(0)
  expect(readsWalEnd).toBeGreaterThan(takesId)
})

test('rows go by the youngest snapshot that is as old as they, else by the oldest', async () => {
  const [old, older] = [await recordOld(5), await recordOld(4)]
  const [young, youngest] = [await recordOld(1), await recordOld(0)]
  const find = (hours: number, needed = youngest.snapshotWalEnd) =>
    findRetentionSnapshot(client, 'shop', needed, hours * hour, server)
  expect(await find(3)).toMatchObject({ id: older.id })
  expect(await find(0.5)).toMatchObject({ id: young.id })
  expect(await find(24)).toMatchObject({ id: old.id })
  // Never one that sees what is not settled.
  expect(await find(0.5, young.snapshotWalEnd - 1n)).toMatchObject({ id: older.id })
  expect(await find(3, old.snapshotWalEnd)).toMatchObject({ id: old.id })
  expect(await find(3, old.snapshotWalEnd - 1n)).toBeUndefined()
  expect(await findOldestSnapshot(client, 'shop', server)).toMatchObject({ id: old.id })
})

test('a mark that outlived the entries around it holds no rows back', async () => {
  const mark = (await recordHistory(client, 'shop', 'mark', 'before-v2'))!
  const [oldest, youngest] = [await recordOld(7), await recordOld(0)]
  const find = async (hours: number, needed = youngest.snapshotWalEnd) => {
    const text = `UPDATE wal2rabbit.checkpoint_history SET stored_at = now() - $1 * interval '1 hour' WHERE kind = 'mark'`
    await client.query(text, [hours])
    return findRetentionSnapshot(client, 'shop', needed, 30 * hour, server)
  }
  expect(await find(40)).toMatchObject({ id: oldest.id })
  // Of marks that are made each day the youngest that is old enough, or the oldest of the younger ones, serve like others.
  for (const hours of [20, 31]) expect(await find(hours)).toMatchObject({ id: mark.id })
  expect(await find(40, oldest.snapshotWalEnd - 1n)).toMatchObject({ id: mark.id })
})
