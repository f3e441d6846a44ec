import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import type { PostgresClient } from '../../src/base/postgres-client.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { RetentionStage } from './retention-stage.ts'

let stage: RetentionStage

beforeEach(async () => {
  stage = await RetentionStage.create('outbox-partitioned.sql')
})

afterEach(() => stage.dispose())

async function anotherClient() {
  const client = await connectControl({ url: stage.database.url, applicationName: 'test', statementTimeout: 20_000 })
  onTestFinished(() => endControl(client))
  return client
}

/** A partition for rows from so many hours ago up to so many. */
async function addPartition(name: string, from: number, to: number): Promise<void> {
  const { rows } = await stage.writer.query(
    `SELECT format('CREATE TABLE %I PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)', $1::text,
      now() - $2 * interval '1 hour', now() - $3 * interval '1 hour') AS sql`,
    [name, from, to],
  )
  await stage.writer.query(rows[0].sql)
}

async function tables(): Promise<string[]> {
  const { rows } = await stage.writer.query(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'outbox'::regclass ORDER BY 1`,
  )
  return rows.map((row) => row.name)
}

test('partitions that are old and settled are dropped whole; the rest goes by rows, also from the default partition', async () => {
  await addPartition('older', 50, 40)
  await addPartition('empty', 40, 30)
  await addPartition('unsettled', 30, 20)
  await addPartition('straddling', 2, 0.5)
  await addPartition('future', -1, -2)
  await stage.insert(3, 45)
  await stage.insert(2, 25)
  await stage.insert(4, 1.5)
  await stage.insert(1, 0.7)
  await stage.insert(5, 10)
  await stage.record()
  await stage.settle()
  await stage.insert(1, 25, undefined, 'not settled')

  const wanted = { outcome: 'done', partitions: ['public.older', 'public.empty'], rows: 2 + 4 + 5, notices: [] }
  expect(await stage.pass({}, true)).toMatchObject(wanted)
  expect(await tables()).toHaveLength(6)
  expect(await stage.retentionRow()).toBeUndefined()

  expect(await stage.pass()).toMatchObject(wanted)
  expect(await tables()).toEqual(['future', 'outbox_default', 'straddling', 'unsettled'])
  expect(await stage.left()).toEqual({ '0.7 h': 1, 'not settled': 1 })
  expect(await stage.retentionRow()).toMatchObject({ rows: 11, partitions: 2 })
})

test('a partition with a row that the slot never streamed stays, and loses only the others', async () => {
  await addPartition('old', 50, 40)
  await stage.insert(1, 45, undefined, 'older than the slot')
  await stage.beginStream()
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  expect(await stage.pass()).toMatchObject({
    outcome: 'done',
    rows: 3,
    partitions: [],
    notices: [expect.stringContaining('never have streamed')],
  })
  expect(await stage.left()).toEqual({ 'older than the slot': 1 })
})

test('a partition with a row that is not settled stays, also when that comes while the lock is waited for', async () => {
  await addPartition('old', 50, 40)
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  const writer = await anotherClient()
  await writer.query('BEGIN')
  await stage.insert(1, 45, writer, 'late')
  const pass = stage.pass()
  const waits = `SELECT count(*)::int AS count FROM pg_locks WHERE relation = 'old'::regclass AND NOT granted`
  await expect
    .poll(async () => (await stage.writer.query(waits)).rows[0].count, { timeout: 20_000, interval: 20 })
    .toBe(1)
  await writer.query('COMMIT')
  // By then the lock may have timed out on a slow machine; the partition stays either way.
  expect(['done', 'incomplete']).toContain((await pass).outcome)
  expect(await tables()).toEqual(['old', 'outbox_default'])
  expect(await stage.left()).toEqual({ late: 1 })
})

test('a backfill that begins while partitions are dropped keeps those that are left', async () => {
  await addPartition('first', 60, 50)
  await addPartition('second', 50, 40)
  await stage.insert(3, 55)
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  await stage.writer.query(`CREATE FUNCTION begin_backfill() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO wal2rabbit.replay (id, slot, kind, source, started_by, request, from_lsn, to_lsn, system_identifier, timeline, lsn)
      SELECT '4f1c', slot, 'backfill', 'table', 'me', '{}', '0/0', lsn, system_identifier, timeline, '0/1'
      FROM wal2rabbit.checkpoint; END $$;
    CREATE EVENT TRIGGER begin_backfill ON sql_drop EXECUTE FUNCTION begin_backfill()`)
  expect(await stage.pass()).toMatchObject({
    outcome: 'waiting',
    reason: expect.stringContaining('backfill 4f1c began to need rows'),
    partitions: ['public.first'],
  })
  expect(await tables()).toEqual(['outbox_default', 'second'])
})

test('a partition that cannot be looked through soon while it is locked goes by rows, and the next time whole', async () => {
  await addPartition('old', 50, 40)
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  const slow: PostgresClient = {
    query: (statement) =>
      stage.client.query(statement.text.includes('AS unchanged') ? { text: 'SELECT pg_sleep(15)' } : statement),
  }
  const notices = [
    expect.stringContaining('old cannot be dropped, so its rows are deleted one by one: a look at it took longer'),
  ]
  const started = performance.now()
  expect(await stage.pass({}, false, {}, slow)).toMatchObject({ outcome: 'done', rows: 3, partitions: [], notices })
  expect(performance.now() - started).toBeLessThan(10_000)
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 0, partitions: ['public.old'], notices: [] })
})

test('a partition that something depends on goes by rows, and does not keep the others', async () => {
  await addPartition('viewed', 60, 50)
  await addPartition('old', 50, 40)
  await stage.insert(3, 55)
  await stage.insert(2, 45)
  await stage.writer.query('CREATE VIEW view AS SELECT * FROM viewed')
  await stage.record()
  await stage.settle()
  expect(await stage.pass()).toMatchObject({
    outcome: 'done',
    rows: 3,
    partitions: ['public.old'],
    notices: [expect.stringContaining('other objects depend on it')],
  })
})

test('a partition, or its root, that somebody holds is passed by, and inserts wait only for a moment', async () => {
  await addPartition('held', 60, 50)
  await addPartition('old', 50, 40)
  await stage.insert(3, 55)
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  const holder = await anotherClient()
  await holder.query('BEGIN; LOCK TABLE held IN ROW EXCLUSIVE MODE')
  const first = await stage.pass()
  expect(first).toMatchObject({ outcome: 'incomplete', partitions: ['public.old'] })
  await holder.query('ROLLBACK')

  await addPartition('next', 50, 40)
  // Any writer with an open transaction holds the root.
  await holder.query('BEGIN')
  await stage.insert(1, 0, holder, 'open')
  const pass = stage.pass()
  await stage.insert(1, 0, undefined, 'meanwhile')
  expect(await pass).toMatchObject({ outcome: 'incomplete', partitions: [] })
  expect(await tables()).toContain('next')
  await holder.query('COMMIT')
  expect(await stage.pass()).toMatchObject({ outcome: 'done', partitions: ['public.held', 'public.next'] })
})

test('without ownership rows go one by one, with DELETE on the root alone, and the remedy is told', async () => {
  const role = stage.database.name
  await addPartition('old', 50, 40)
  await stage.insert(3, 45)
  await stage.insert(2, 5)
  await stage.record()
  await stage.settle()
  await stage.writer.query(`CREATE ROLE ${role}; GRANT USAGE ON SCHEMA wal2rabbit TO ${role};
    GRANT SELECT, DELETE ON outbox TO ${role};
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA wal2rabbit TO ${role}`)
  try {
    await stage.client.query(`SET ROLE ${role}`)
    const report = await stage.pass()
    expect(report).toMatchObject({ outcome: 'done', rows: 5, partitions: [] })
    expect(report.notices).toEqual([expect.stringContaining(`GRANT "postgres" TO "${role}";`)])
  } finally {
    await stage.client.query('RESET ROLE')
    await stage.writer.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('rows that a policy hides are never taken for gone', async () => {
  const role = stage.database.name
  await addPartition('old', 50, 40)
  await stage.insert(2, 45, undefined, 'settled')
  await stage.record()
  await stage.settle()
  await stage.insert(3, 45, undefined, 'not settled')
  const force = (table: string) =>
    stage.writer.query(`ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`)
  await force('old')
  await stage.writer.query(`CREATE ROLE ${role}; GRANT USAGE ON SCHEMA wal2rabbit TO ${role};
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA wal2rabbit TO ${role};
    ALTER TABLE outbox OWNER TO ${role}; ALTER TABLE old OWNER TO ${role}; ALTER TABLE outbox_default OWNER TO ${role}`)
  try {
    await stage.client.query(`SET ROLE ${role}`)
    expect(await stage.pass()).toMatchObject({
      outcome: 'done',
      rows: 2,
      partitions: [],
      notices: [expect.stringContaining('affected by row-level security')],
    })
    expect(await stage.left()).toEqual({ 'not settled': 3 })
    await force('outbox')
    const reason = expect.stringContaining(`ALTER ROLE "${role}" BYPASSRLS;`)
    expect(await stage.pass()).toMatchObject({ outcome: 'impossible', reason, rows: 0, partitions: [] })
  } finally {
    await stage.client.query('RESET ROLE')
    await stage.writer.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('a table that is partitioned by something else loses rows, never partitions', async () => {
  await stage.writer.query(`DROP TABLE outbox; CREATE TABLE outbox (aggregate_type text, aggregate_id text, type text,
      created_at timestamptz, transaction_id xid8 DEFAULT pg_current_xact_id()) PARTITION BY LIST (type);
    CREATE TABLE events PARTITION OF outbox FOR VALUES IN ('Event')`)
  await stage.insert(3, 45)
  await stage.record()
  await stage.settle()
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 3, partitions: [] })
  expect(await tables()).toEqual(['events'])
})
