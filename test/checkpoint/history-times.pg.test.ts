import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Lsn } from '../../src/base/lsn.ts'
import type { Lineage } from '../../src/checkpoint/history-snapshots.ts'
import { findWalEndBefore, findWalEndBehind } from '../../src/checkpoint/history-times.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 10_000 })
  await migrate(client, await loadMigrations())
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

beforeEach(() => client.query('TRUNCATE wal2rabbit.checkpoint_history'))

const server: Lineage = { systemIdentifier: '7000', timeline: 1, timelineHistory: [] }
const at = (time: string) => `2026-01-31T${time}Z`

interface Entry {
  readonly at: string
  /** The byte of WAL at which it was written. */
  readonly wal: number
  readonly kind?: string
  readonly slot?: string
  readonly systemIdentifier?: string
  readonly timeline?: number
}

/** They are written in this order; the stored LSN of each is of no consequence. */
async function stored(entries: readonly Entry[]): Promise<void> {
  for (const { at: time, wal, kind = 'interval', slot = 'shop', systemIdentifier = '7000', timeline = 1 } of entries) {
    const lsn = `0/${wal.toString(16)}`
    await client.query({
      text: `INSERT INTO wal2rabbit.checkpoint_history
          (slot, lsn, events, stored_at, snapshot, snapshot_wal_end, kind, name, system_identifier, timeline)
        VALUES ($1, '0/1', 0, $2, '1:1:', $3, $4, $5, $6, $7)`,
      values: [slot, at(time), lsn, kind, kind === 'mark' ? `m${wal}` : null, systemIdentifier, timeline],
    })
  }
}

const from = (time: string, other = server) => findWalEndBefore(client, 'shop', at(time), other)
const to = (time: string, other = server) => findWalEndBehind(client, 'shop', at(time), other)

const steady = [
  { at: '12:00:00', wal: 100 },
  { at: '12:00:10', wal: 200 },
  { at: '12:00:20', wal: 300 },
]

describe('a clock that goes on: an entry counts once it is more than a second away', () => {
  test.each([
    ['11:59:59', undefined, 100n],
    ['12:00:00.999999', undefined, 200n],
    ['12:00:01', 100n, 200n],
    ['12:00:09', 100n, 200n],
    ['12:00:09.000001', 100n, 300n],
    ['12:00:11', 200n, 300n],
    ['12:00:15', 200n, 300n],
    ['12:00:21', 300n, undefined],
  ])('%s lies from %s to %s', async (time, start, end) => {
    await stored(steady)
    expect(await from(time)).toBe(start)
    expect(await to(time)).toBe(end)
  })
})

// Sorted by time, the last entry before 12:00:12 was the one at 500, and what committed at 12:00:12 at 270 was passed over.
describe('a clock that was set back between 300 and 400', () => {
  const back = [
    { at: '12:00:00', wal: 100 },
    { at: '12:00:10', wal: 200 },
    { at: '12:00:13', wal: 300, kind: 'mark' },
    { at: '12:00:05', wal: 400 },
    { at: '12:00:10', wal: 500 },
    { at: '12:00:20', wal: 600 },
  ]
  test.each<[string, Lsn | undefined, Lsn | undefined]>([
    ['11:59:03', undefined, 100n],
    // What committed just after the step may be older than the entry behind it, by up to a minute.
    ['11:59:05', undefined, 400n],
    ['12:00:04', 100n, 400n],
    // These times were there twice: as a start the first one counts, as an end the second.
    ['12:00:05', 100n, 500n],
    ['12:00:08', 100n, 500n],
    ['12:00:12', 200n, 600n],
    // And what committed just before the step may be younger than the entry before it.
    ['12:00:14', 300n, 600n],
    ['12:01:13', 300n, undefined],
    ['12:01:14', 600n, undefined],
  ])('%s lies from %s to %s', async (time, start, end) => {
    await stored(back)
    expect(await from(time)).toBe(start)
    expect(await to(time)).toBe(end)
  })
})

test('entries of the same moment, by two processes, are no step', async () => {
  await stored([
    { at: '12:00:00.004', wal: 100 },
    { at: '12:00:00', wal: 110 },
    { at: '12:00:20', wal: 200 },
  ])
  expect(await from('12:00:15')).toBe(110n)
  expect(await to('11:59:55')).toBe(100n)
})

test('a clock that was hours ahead for a while: as a start each time lies before that', async () => {
  await stored([
    { at: '12:00:00', wal: 100 },
    { at: '23:00:00', wal: 200 },
    { at: '12:00:20', wal: 300 },
    { at: '12:00:30', wal: 400 },
  ])
  expect(await from('12:00:25')).toBe(100n)
  expect(await to('12:00:25')).toBe(400n)
})

test('the entry of a rewind counts as any other: later ones have a lower stored LSN, but not a lower WAL end', async () => {
  await stored([
    { at: '12:00:00', wal: 100 },
    { at: '12:00:10', wal: 200, kind: 'rewind' },
    { at: '12:00:20', wal: 300 },
  ])
  expect(await from('12:00:15')).toBe(200n)
  expect(await to('12:00:05')).toBe(200n)
})

test('what was pruned leaves a longer way; a mark stays', async () => {
  await stored([
    { at: '12:00:00', wal: 100, kind: 'mark' },
    { at: '13:00:00', wal: 9000 },
  ])
  expect(await from('12:59:00')).toBe(100n)
  expect(await to('12:01:00')).toBe(9000n)
})

test('entries of another slot, cluster or timeline do not count, those of an ancestor up to its switch', async () => {
  await stored([
    { at: '12:00:00', wal: 100 },
    { at: '12:00:10', wal: 200 },
    { at: '12:00:20', wal: 300 },
    { at: '12:00:12', wal: 250, timeline: 2 },
    { at: '12:00:22', wal: 350, timeline: 2 },
    { at: '12:00:01', wal: 320, slot: 'other' },
    { at: '12:00:01', wal: 330, systemIdentifier: '7001' },
    { at: '12:00:01', wal: 340, timeline: 3 },
  ])
  const promoted = (switchLsn: Lsn) => ({ ...server, timeline: 2, timelineHistory: [{ timeline: 1, switchLsn }] })
  expect(await from('12:00:30')).toBe(300n)
  expect(await from('12:00:12', promoted(220n))).toBe(200n)
  expect(await from('12:00:12', promoted(199n))).toBe(100n)
  expect(await to('12:00:05', promoted(220n))).toBe(200n)
  expect(await to('12:00:05', promoted(199n))).toBe(250n)
  expect(await to('12:00:15', promoted(220n))).toBe(350n)
  expect(await from('12:00:30', { ...server, systemIdentifier: '7002' })).toBeUndefined()
})

test('LSNs are compared as numbers', async () => {
  await stored([
    { at: '12:00:00', wal: 0xff },
    { at: '12:00:10', wal: 0x1000 },
  ])
  expect(await from('12:00:30')).toBe(0x1000n)
  expect(await to('11:00:00')).toBe(0xffn)
})
