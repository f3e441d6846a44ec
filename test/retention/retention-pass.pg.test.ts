import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { formatLsn } from '../../src/base/lsn.ts'
import { findRetentionSnapshot } from '../../src/checkpoint/history-snapshots.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { readLineage } from '../../src/setup/lineage.ts'
import { requireTableStart } from '../../src/setup/replay-table.ts'
import { RetentionStage } from './retention-stage.ts'

let stage: RetentionStage

beforeEach(async () => {
  stage = await RetentionStage.create()
})

afterEach(() => stage.dispose())

async function anotherClient() {
  const options = { url: stage.database.url, applicationName: 'test', statementTimeout: 20_000 }
  const client = await connectControl(options)
  onTestFinished(() => endControl(client))
  return client
}

test('what is old and settled goes, in batches, and nothing else does', async () => {
  await stage.insert(3500, 5)
  await stage.insert(10, 0.5)
  await stage.record()
  await stage.settle()
  const report = await stage.pass()
  expect(report).toMatchObject({ outcome: 'done', reason: null, rows: 3500, partitions: [], notices: [] })
  expect(await stage.left()).toEqual({ '0.5 h': 10 })
  expect(await stage.retentionRow()).toEqual({
    table_name: 'public.outbox',
    floor: formatLsn(report.floor!),
    rows: 3500,
    partitions: 0,
  })
})

test('while the broker is down nothing that is not settled goes, however old it says it is', async () => {
  await stage.insert(5, 9, undefined, 'settled')
  await stage.record()
  await stage.settle()
  // From here on the stored LSN stands still; history goes on to be written at each start.
  await stage.insert(5, 9, undefined, 'not settled')
  await stage.record()
  await stage.insert(5, 9, undefined, 'later')
  await stage.record()
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
  expect(await stage.left()).toEqual({ 'not settled': 5, later: 5 })
  await stage.settle()
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 + 5 })
  expect(await stage.left()).toEqual({})
})

test.each([
  ['by transaction_id', {}],
  ['by xmin', { transactionId: [] }],
])('rows that the slot never streamed are kept, and told about: %s', async (_, rule) => {
  await stage.insert(3, 9, undefined, 'older than the slot')
  await stage.beginStream()
  await stage.insert(5, 9, undefined, 'streamed')
  // A transaction of PostgreSQL's own, as of autovacuum, may hold xmin back for a moment.
  const dryRun = async () => {
    await stage.record()
    await stage.settle()
    return (await stage.pass(rule, true)).rows
  }
  await expect.poll(dryRun, { timeout: 20_000 }).toBe(5)
  const notices = [expect.stringContaining('slot shop may never have streamed them')]
  expect(await stage.pass(rule, true)).toMatchObject({ outcome: 'done', rows: 5, notices })
  expect(await stage.pass(rule)).toMatchObject({ outcome: 'done', rows: 5, notices })
  expect(await stage.left()).toEqual({ 'older than the slot': 3 })
  await stage.writer.query(
    `DELETE FROM outbox WHERE transaction_id < (SELECT unstreamed_below FROM wal2rabbit.checkpoint)`,
  )
  expect(await stage.pass(rule)).toMatchObject({ outcome: 'done', rows: 0, notices: [] })
})

test('one of its two ids is enough for a row to be none that was streamed', async () => {
  await stage.insert(1, 9, undefined, 'updated')
  await stage.insert(1, 9, undefined, 'written anew')
  await stage.beginStream()
  await stage.writer.query(`UPDATE outbox SET payload = '1' WHERE aggregate_id = 'updated'`)
  await stage.writer.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, created_at, transaction_id)
    SELECT 'order', 'copied', 'Event', created_at, transaction_id FROM outbox WHERE aggregate_id = 'written anew'`)
  await stage.record()
  await stage.settle()
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 0 })
  expect(await stage.left()).toEqual({ updated: 1, 'written anew': 1, copied: 1 })
})

test('without a checkpoint of its own slot nothing is known to be delivered', async () => {
  await stage.addSlot('other')
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle('other')
  await stage.writer.query(`DELETE FROM wal2rabbit.checkpoint WHERE slot = 'shop'`)
  expect(await stage.pass()).toMatchObject({
    outcome: 'impossible',
    reason: expect.stringContaining('no row for slot shop'),
  })
})

test('without a snapshot from before the stored LSN nothing goes', async () => {
  await stage.insert(5, 9)
  await stage.record()
  expect(await stage.pass()).toMatchObject({
    outcome: 'waiting',
    rows: 0,
    floor: null,
    reason: expect.stringMatching(/^slot shop needs all from/),
  })
  expect(await stage.retentionRow()).toBeUndefined()
})

test('of two slots on one table the one that lags decides', async () => {
  await stage.addSlot('lagging')
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle('shop')
  expect(await stage.pass()).toMatchObject({ outcome: 'waiting', reason: expect.stringContaining('slot lagging') })
  expect(await stage.left()).toEqual({ '9 h': 5 })
  await stage.settle('lagging')
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
})

test.each([
  ['by transaction_id', {}, 'INSERT'],
  ['by xmin', { transactionId: [] }, 'INSERT'],
  ['by xmin, in a subtransaction', { transactionId: [] }, 'SAVEPOINT s; INSERT'],
  ['by transaction_id, in a subtransaction', {}, 'SAVEPOINT s; INSERT'],
])('a row of a transaction that was open for long stays until it is settled: %s', async (_, rule, begin) => {
  const open = await anotherClient()
  await open.query('BEGIN; SELECT pg_current_xact_id()')
  if (begin.startsWith('SAVEPOINT')) await open.query('SAVEPOINT s')
  await stage.insert(1, 9, open, 'early')
  // Younger transactions end and are settled meanwhile, so the snapshot's xmax is above the row's id.
  await stage.insert(5, 9, undefined, 'quick')
  await stage.record()
  await stage.settle()
  await open.query('COMMIT')
  await stage.pass(rule)
  expect(await stage.left()).toMatchObject({ early: 1 })

  await stage.record()
  expect(await stage.pass(rule)).toMatchObject({ outcome: 'done' })
  expect(await stage.left()).toMatchObject({ early: 1 })
  // A transaction of PostgreSQL's own, as of autovacuum, may hold xmin back for a moment.
  const next = async () => {
    await stage.record()
    await stage.settle()
    await stage.pass(rule)
    return stage.left()
  }
  await expect.poll(next, { timeout: 20_000 }).toEqual({})
})

test('a transaction_id that the application wrote itself does not make a row settled', async () => {
  await stage.insert(1, 9, undefined, 'settled')
  await stage.record()
  await stage.settle()
  await stage.writer.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, created_at, transaction_id)
    VALUES ('order', 'copied', 'Event', '2020-01-01', '3')`)
  expect(await stage.pass()).toMatchObject({ rows: 1 })
  expect(await stage.left()).toEqual({ copied: 1 })
})

test('nor does it with the xmin of a subtransaction, which no snapshot lists', async () => {
  const open = await anotherClient()
  await open.query('BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s')
  await open.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, created_at, transaction_id)
    VALUES ('order', 'copied', 'Event', '2020-01-01', '3')`)
  await stage.insert(1, 9, undefined, 'quick')
  await stage.record()
  await stage.settle()
  await open.query('COMMIT')
  expect(await stage.pass()).toMatchObject({ rows: 1 })
  expect(await stage.left()).toEqual({ copied: 1 })
})

test('a column without a time zone is UTC, and one without values keeps its rows', async () => {
  await stage.writer.query(`ALTER TABLE outbox ADD at timestamp; ALTER TABLE outbox ALTER transaction_id DROP NOT NULL`)
  await stage.client.query(`SET TimeZone = 'Pacific/Auckland'`)
  for (const [note, hours] of [
    ['old', 1.1],
    ['young', 0.9],
  ] as const) {
    await stage.insert(1, 0, undefined, note)
    await stage.writer.query(
      `UPDATE outbox SET at = (now() AT TIME ZONE 'UTC') - $1 * interval '1 hour', transaction_id = NULL WHERE aggregate_id = $2`,
      [hours, note],
    )
  }
  await stage.insert(1, 9, undefined, 'no time')
  await stage.record()
  await stage.settle()
  expect(await stage.pass({ createdAt: ['missing', 'at'] })).toMatchObject({ outcome: 'done', rows: 1 })
  expect(await stage.left()).toEqual({ young: 1, 'no time': 1 })
})

test('tables that inherit from it keep their rows: no stream has them', async () => {
  await stage.writer.query('CREATE TABLE archive () INHERITS (outbox)')
  await stage.insert(5, 9)
  await stage.writer.query('INSERT INTO archive SELECT * FROM outbox')
  await stage.record()
  await stage.settle()
  expect(await stage.pass({}, true)).toMatchObject({ rows: 5 })
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
  expect(await stage.left()).toEqual({ '9 h': 5 })
})

test('a dry run counts and changes nothing', async () => {
  await stage.insert(2500, 9)
  await stage.insert(1, 0)
  await stage.record()
  await stage.settle()
  const report = await stage.pass({}, true)
  expect(report).toMatchObject({ outcome: 'done', rows: 2500, floor: expect.any(BigInt) })
  expect(await stage.left()).toEqual({ '9 h': 2500, '0 h': 1 })
  expect(await stage.retentionRow()).toBeUndefined()
})

test('a table without created_at, or a role without DELETE, is told about', async () => {
  expect(await stage.pass({ createdAt: [] })).toMatchObject({
    outcome: 'impossible',
    reason: expect.stringContaining('no created_at column'),
  })
  expect(await stage.pass({ createdAt: ['payload'] })).toMatchObject({
    outcome: 'impossible',
    reason: expect.stringContaining('of type jsonb'),
  })
  await stage.writer.query(`CREATE ROLE ${stage.database.name}; GRANT SELECT ON outbox TO ${stage.database.name}`)
  try {
    await stage.client.query(`SET ROLE ${stage.database.name}`)
    expect(await stage.pass()).toMatchObject({
      outcome: 'impossible',
      reason: expect.stringContaining('GRANT DELETE ON "public"."outbox" TO'),
    })
  } finally {
    await stage.client.query('RESET ROLE')
    await stage.writer.query(`DROP OWNED BY ${stage.database.name}; DROP ROLE ${stage.database.name}`)
  }
})

test('a stored LSN of another cluster is comparable with nothing, so nothing goes', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  await stage.writer.query(`INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline)
    VALUES ('restored', 'FF/0', '4711', 1)`)
  expect(await stage.pass()).toMatchObject({ outcome: 'impossible', reason: expect.stringContaining('slot restored') })
  expect(await stage.left()).toEqual({ '9 h': 5 })
})

async function addReplay(changes: { kind?: string; state?: string; days?: number; source?: string } = {}) {
  const { kind = 'replay', state = 'running', days = 0, source = 'table' } = changes
  await stage.writer.query(
    `INSERT INTO wal2rabbit.replay (id, slot, kind, source, state, started_by, request, from_lsn, to_lsn,
      system_identifier, timeline, lsn, updated_at)
     SELECT $5, 'shop', $1, $2, $3, 'me', '{}', CASE WHEN $1 = 'backfill' THEN 'FF/0' ELSE '0/1' END::pg_lsn, 'FF/0',
       system_identifier, timeline, '0/1', now() - $4 * interval '1 day' FROM wal2rabbit.checkpoint WHERE slot = 'shop'`,
    [kind, source, state, days, JSON.stringify(changes)],
  )
}

test.each([
  [{ state: 'running' }, true],
  [{ state: 'stopped' }, true],
  [{ state: 'failed' }, true],
  [{ kind: 'backfill' }, true],
  [{ state: 'done' }, false],
  [{ state: 'failed', days: 1.1 }, false],
  [{ source: 'wal' }, false],
])('rows that a replay may still read stay: %j', async (changes, stays) => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  await addReplay(changes)
  expect(await stage.pass()).toMatchObject(stays ? { outcome: 'waiting', rows: 0 } : { outcome: 'done', rows: 5 })
})

test('a replay that begins between the look and the first batch finds the floor, and its rows stay', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  const report = await stage.pass({}, false, {
    async findRetentionSnapshot(...args) {
      const entry = await findRetentionSnapshot(...args)
      await addReplay()
      return entry
    },
  })
  expect(report).toMatchObject({ outcome: 'waiting', rows: 0, reason: expect.stringContaining('began to need rows') })
  expect(await stage.left()).toEqual({ '9 h': 5 })
  expect(await stage.retentionRow()).toMatchObject({ rows: 0 })
})

test('a replay that was planned before rows went, and recorded after, is refused', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  const floor = (await stage.pass()).floor!
  const { systemIdentifier } = await readLineage(stage.writer, stage.database.url)
  const start = (source: 'wal' | 'table', lsn: bigint) =>
    requireTableStart(stage.writer, stage.rule, {
      source,
      range: { from: { lsn, rows: 0 }, to: { lsn: floor, rows: 0 } },
      systemIdentifier,
    })
  await expect(start('table', floor - 1n)).rejects.toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
  await start('table', floor)
  await start('wal', 0n)
})

test('the floor is there before the first row is gone', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  await stage.writer.query(`CREATE FUNCTION needs_floor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NOT EXISTS (SELECT FROM wal2rabbit.outbox_retention) THEN RAISE 'no floor'; END IF; RETURN OLD; END $$;
    CREATE TRIGGER needs_floor BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION needs_floor()`)
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
  const first = await stage.retentionRow()
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  await stage.pass()
  expect(await stage.retentionRow()).toMatchObject({ rows: 10 })
  expect((await stage.retentionRow())!.floor).not.toBe(first!.floor)
})

test('a locked row does not stop the others, and goes the next time', async () => {
  await stage.insert(3500, 9)
  await stage.record()
  await stage.settle()
  const holder = await anotherClient()
  await holder.query(`BEGIN; SELECT FROM outbox WHERE ctid = '(0,1)' FOR UPDATE`)
  const report = await stage.pass()
  expect(report).toMatchObject({ outcome: 'incomplete', reason: expect.stringContaining('lock') })
  expect(report.rows).toBeGreaterThan(2000)
  expect(report.rows).toBeLessThan(3500)
  await holder.query('ROLLBACK')
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 3500 - report.rows })
})

test('a table that somebody holds ends the pass', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  const holder = await anotherClient()
  await holder.query('BEGIN; LOCK TABLE outbox')
  await expect(stage.pass()).rejects.toMatchObject({ code: '55P03' })
  await holder.query('ROLLBACK')
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
})

test('one pass at a time for a table', async () => {
  await stage.insert(5, 9)
  await stage.record()
  await stage.settle()
  const other = await anotherClient()
  await other.query(`SELECT pg_advisory_lock(hashtextextended('wal2rabbit retention public.outbox', 0))`)
  expect(await stage.pass()).toMatchObject({ outcome: 'busy', rows: 0 })
  await other.query('SELECT pg_advisory_unlock_all()')
  expect(await stage.pass()).toMatchObject({ outcome: 'done', rows: 5 })
})

test('under concurrent writers, with a stored LSN that lags behind, every row that went was settled', {
  timeout: 180_000,
}, async () => {
  const writers = [await anotherClient(), await anotherClient(), await anotherClient()]
  let over = false
  let written = 0
  const work = writers.map(async (client, n) => {
    while (!over) {
      await client.query('BEGIN')
      for (let i = 0; i < 1 + (written % 7); i++) {
        if (i === 2) await client.query('SAVEPOINT s')
        await stage.insert(3, 9, client, 'row')
      }
      // Of different length, so that commit order is not the order of ids.
      await new Promise((resolve) => setTimeout(resolve, n === 0 ? 40 : 10))
      await client.query('COMMIT')
      written++
    }
  })
  // What is settled: all that has committed below the stored LSN, and what committed just after it was read.
  await stage.writer.query('CREATE TABLE settled AS SELECT id FROM outbox WITH NO DATA')
  await stage.writer.query('CREATE TABLE deleted (id uuid)')
  await stage.writer.query(`CREATE FUNCTION note_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO deleted VALUES (OLD.id); RETURN OLD; END $$;
    CREATE TRIGGER note_deleted BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION note_deleted()`)
  let deleted = 0
  try {
    for (let round = 0; round < 6; round++) {
      await stage.record()
      if (round % 3 === 2) {
        const { rows } = await stage.writer.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')
        await stage.writer.query('INSERT INTO settled SELECT id FROM outbox EXCEPT SELECT id FROM settled')
        await stage.writer.query('UPDATE wal2rabbit.checkpoint SET lsn = $1', [rows[0].lsn])
      }
      await stage.record()
      deleted += (await stage.pass(round % 2 === 0 ? {} : { transactionId: [] })).rows
      const wrong = await stage.writer.query(
        'SELECT count(*)::int AS count FROM deleted WHERE id NOT IN (SELECT id FROM settled)',
      )
      expect(wrong.rows[0].count).toBe(0)
    }
  } finally {
    over = true
    await Promise.all(work)
  }
  expect(deleted).toBeGreaterThan(20)
})
