import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Lsn, parseLsn } from '../../src/base/lsn.ts'
import type { PostgresClient } from '../../src/base/postgres-client.ts'
import {
  type HistoryEntry,
  listHistory,
  pruneHistory,
  recordHistory,
  removeMark,
} from '../../src/checkpoint/checkpoint-history.ts'
import { findSnapshotBefore } from '../../src/checkpoint/history-snapshots.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let writer: pg.Client

const server = { systemIdentifier: '7000', timeline: 1, timelineHistory: [] }

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
  await client.query(`INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline, events)
    VALUES ('shop', '0/1', '7000', 1, 42)`)
})

async function unseenBy(entry: HistoryEntry): Promise<number[]> {
  const { rows } = await client.query(
    'SELECT id FROM event WHERE NOT pg_visible_in_snapshot(xid, $1::pg_snapshot) ORDER BY id',
    [entry.snapshot],
  )
  return rows.map((row) => row.id)
}

async function walEnd(): Promise<Lsn> {
  return parseLsn((await writer.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn)
}

/** Lets `work` happen after the snapshot was taken and before the WAL end is read. */
function between(work: () => Promise<unknown>): PostgresClient {
  return {
    async query(statement) {
      if (statement.name === 'wal2rabbit_record_history') await work()
      return client.query({ ...statement })
    },
  }
}

test('an entry holds the stored LSN, the count, and a snapshot with the WAL end after it', async () => {
  const entry = await recordHistory(client, 'shop', 'mark', 'before the release')
  expect(entry).toMatchObject({ lsn: 1n, events: 42n, kind: 'mark', name: 'before the release' })
  expect(entry).toMatchObject({ systemIdentifier: '7000', timeline: 1 })
  expect(entry!.snapshot).toMatch(/^\d+:\d+:/)
  expect(await listHistory(client, 'shop', 10)).toEqual([entry])
  expect(await recordHistory(client, 'nobody', 'start')).toBeUndefined()
})

test('a transaction that commits between snapshot and WAL end is not lost to a replay from there', async () => {
  await writer.query('INSERT INTO event VALUES (1)')
  let endOfSecond = 0n
  const meanwhile = between(async () => {
    await writer.query('INSERT INTO event VALUES (2)')
    endOfSecond = await walEnd()
  })
  const entry = (await recordHistory(meanwhile, 'shop', 'interval'))!
  await writer.query('INSERT INTO event VALUES (3)')
  // A replay from the WAL end on needs only 3: the snapshot gives 2 as well, which is more and never less.
  expect(await unseenBy(entry)).toEqual([2, 3])
  expect(entry.snapshotWalEnd).toBeGreaterThanOrEqual(endOfSecond)
})

test('whatever a snapshot sees has committed below the WAL end beside it', async () => {
  // The trap: the WAL end read BEFORE the snapshot would miss a transaction that commits in between.
  const beforeAnything = await walEnd()
  await writer.query('INSERT INTO event VALUES (1)')
  const afterFirst = await walEnd()
  const entry = (await recordHistory(client, 'shop', 'start'))!
  expect(await unseenBy(entry)).toEqual([])
  expect(entry.snapshotWalEnd).toBeGreaterThanOrEqual(afterFirst)
  expect(await findSnapshotBefore(client, 'shop', beforeAnything, server)).toBeUndefined()
  expect(await findSnapshotBefore(client, 'shop', entry.snapshotWalEnd, server)).toEqual(entry)
  expect(await findSnapshotBefore(client, 'shop', entry.snapshotWalEnd - 1n, server)).toBeUndefined()
})

test('a transaction that is open while the snapshot is taken stays unseen when it commits later', async () => {
  await writer.query('BEGIN')
  await writer.query('INSERT INTO event VALUES (1)')
  const entry = (await recordHistory(client, 'shop', 'interval'))!
  await writer.query('COMMIT')
  expect(await unseenBy(entry)).toEqual([1])
})

test('a name is marked once, and may be marked again when it was removed', async () => {
  await recordHistory(client, 'shop', 'mark', 'v2')
  await expect(recordHistory(client, 'shop', 'mark', 'v2')).rejects.toMatchObject({ code: '23505' })
  expect(await removeMark(client, 'other', 'v2')).toBe(false)
  expect(await removeMark(client, 'shop', 'v2')).toBe(true)
  expect(await removeMark(client, 'shop', 'v2')).toBe(false)
  expect(await recordHistory(client, 'shop', 'mark', 'v2')).toMatchObject({ name: 'v2' })
})

test('entries are listed by number: they were once sorted as text, so that 10 came after 9', async () => {
  await client.query('ALTER TABLE wal2rabbit.checkpoint_history ALTER id RESTART WITH 9')
  for (let n = 0; n < 3; n++) await recordHistory(client, 'shop', 'interval')
  expect((await listHistory(client, 'shop', 2)).map((entry) => entry.id)).toEqual([11n, 10n])
})

test('pruning keeps what is young, marks, and the entry from which the edge of the retention is replayed', async () => {
  for (const [kind, age] of Object.entries({ mark: 90, start: 80, interval: 70, stop: 10 })) {
    await recordHistory(client, 'shop', kind as 'mark')
    await client.query(
      `UPDATE wal2rabbit.checkpoint_history SET stored_at = stored_at - $1 * interval '1 minute' WHERE kind = $2`,
      [age, kind],
    )
  }
  expect(await pruneHistory(client, 'shop', { time: 3_600_000, count: 100 })).toBe(1)
  expect((await listHistory(client, undefined, 10)).map((entry) => entry.kind)).toEqual(['stop', 'interval', 'mark'])
})

test('pruning keeps no more than so many entries, and one before them', async () => {
  for (let n = 0; n < 6; n++) await recordHistory(client, 'shop', 'interval')
  const newest = (await listHistory(client, 'shop', 10)).slice(0, 4)
  expect(await pruneHistory(client, 'shop', { time: 3_600_000, count: 3 })).toBe(2)
  expect(await listHistory(client, 'shop', 10)).toEqual(newest)
})
