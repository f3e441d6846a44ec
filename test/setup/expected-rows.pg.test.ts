import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ReplayPlan } from '../../src/replay/replay-record.ts'
import { columnPresets } from '../../src/routing/column-map.ts'
import { countReplayRows, type ExpectedRowsOptions, expectedRows } from '../../src/setup/expected-rows.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let options: ExpectedRowsOptions

const plan: ReplayPlan = {
  source: 'table',
  range: { from: { lsn: 0x10n, rows: 0 }, to: { lsn: 0x20n, rows: 0 } },
  fromSnapshot: undefined,
  toSnapshot: undefined,
  systemIdentifier: '1',
  timeline: 1,
}

beforeAll(async () => {
  database = await freshDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await migrate(client, await loadMigrations())
  await client.query(`CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text NOT NULL,
    aggregate_id text NOT NULL, type text NOT NULL, payload jsonb, headers jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(), transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id())`)
  await client.query(
    `INSERT INTO events (aggregate_type, aggregate_id, type) SELECT 'a', '1', 't' FROM generate_series(1, 7)`,
  )
  await client.query('CREATE PUBLICATION events FOR TABLE events')
  const table = { schema: 'public', name: 'events' }
  options = {
    ...{ url: database.url, connectTimeout: 5000, slot: 'slot' },
    names: { plugin: 'pgoutput', publication: 'events', table, columns: columnPresets.default },
  }
})

afterAll(async () => {
  await client.end()
  await database.drop()
})

test('the rows of the table are counted, without workers beside the session', async () => {
  expect(await expectedRows(options, plan)).toBe(7)
  await client.query('SET max_parallel_workers_per_gather = 4')
  await countReplayRows(client, options.names, plan)
  expect((await client.query('SHOW max_parallel_workers_per_gather')).rows).toEqual([
    { max_parallel_workers_per_gather: '0' },
  ])
})

// A replay of a large table, or of one that somebody has locked, ended here, each time that it was resumed.
test('what takes too long to count is not known, and that is no failure', async () => {
  await client.query('BEGIN')
  await client.query('LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
  try {
    expect(await expectedRows({ ...options, timeout: 100 }, plan)).toBeUndefined()
  } finally {
    await client.query('ROLLBACK')
  }
})

test.each<[string, Partial<ExpectedRowsOptions>]>([
  [
    'a table that is gone',
    {
      names: {
        plugin: 'wal2json',
        publication: '',
        table: { schema: 'public', name: 'gone' },
        columns: columnPresets.default,
      },
    },
  ],
  ['a server that is away', { url: 'postgres://127.0.0.1:1/none' }],
])('%s is for the replay itself to meet', async (_, changes) => {
  expect(await expectedRows({ ...options, ...changes }, plan)).toBeUndefined()
})

test('from the WAL it is about what the history has counted, if that says anything', async () => {
  expect(await expectedRows(options, { ...plan, source: 'wal' })).toBeUndefined()
})
