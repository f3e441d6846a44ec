import pg from 'pg'
import { expect, onTestFinished, test, vi } from 'vitest'
import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { parseTableName } from '../../src/base/sql.ts'
import { outboxTableSql } from '../../src/setup/sql-files.ts'
import { type CommandOptions, type CommandResult, runCommand } from '../support/bridge-process.ts'
import type { Collector } from '../support/collector.ts'
import { isLong } from '../support/length.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { ensureWal2json, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

/** Each attempt is a process of its own, and two cores serve all of them. */
vi.setConfig({ testTimeout: 180_000 })

interface BackfillStage extends Stage {
  readonly client: pg.Client
  init(args?: readonly string[], options?: CommandOptions): Promise<CommandResult>
}

/** A table with rows, an exchange with a queue, and nothing of the bridge yet. */
async function openStage(rows: number, env: Record<string, string> = {}): Promise<BackfillStage> {
  const database = await freshDatabase('backfill')
  onTestFinished(() => database.drop())
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => undefined) // ends with the database
  await client.connect()
  onTestFinished(() => client.end())
  await client.query(await outboxTableSql(parseTableName('public.outbox')))
  const stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url, env, init: false })
  onTestFinished(() => stage.dispose())
  await insert(client, rows)
  const init: BackfillStage['init'] = (args = ['--backfill'], options) =>
    runCommand(['init', ...args], stage.bridge.env, options)
  return Object.assign(stage, { client, init })
}

async function insert(client: pg.Client, rows: number, type = 'placed'): Promise<void> {
  await client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
      SELECT 'order', (n % 100)::text, $2, jsonb_build_object('n', n) FROM generate_series(1, $1::int) n`,
    [rows, type],
  )
}

async function idsOfTable({ client }: BackfillStage): Promise<string[]> {
  return (await client.query<{ id: string }>('SELECT id FROM outbox ORDER BY created_at')).rows.map(({ id }) => id)
}

async function slots({ client, name }: BackfillStage): Promise<string[]> {
  const text = 'SELECT slot_name FROM pg_replication_slots WHERE starts_with(slot_name, $1) ORDER BY slot_name'
  return (await client.query<{ slot_name: string }>(text, [name])).rows.map((row) => row.slot_name)
}

async function states({ client }: BackfillStage): Promise<string[]> {
  const text = 'SELECT state FROM wal2rabbit.replay ORDER BY started_at'
  return (await client.query<{ state: string }>(text)).rows.map(({ state }) => state)
}

/** Below which transaction rows may not have been sent; null when all were. */
async function unstreamedBelow({ client }: BackfillStage): Promise<string | null> {
  const text = 'SELECT unstreamed_below::text AS below FROM wal2rabbit.checkpoint'
  return (await client.query<{ below: string | null }>(text)).rows[0]!.below
}

/** Every row of the table has come, each as often as said (default: once). */
async function expectAll(stage: BackfillStage, collector: Collector, times?: (id: string) => number): Promise<void> {
  const ids = await idsOfTable(stage)
  const wanted = ids.reduce((sum, id) => sum + (times?.(id) ?? 1), 0)
  await collector.until(() => collector.deliveries.length >= wanted, 30_000, 'all rows')
  const counts = new Map<string, number>()
  for (const { id } of collector.deliveries) counts.set(id, (counts.get(id) ?? 0) + 1)
  expect([...counts.keys()].toSorted()).toEqual(ids.toSorted())
  expect(ids.filter((id) => counts.get(id) !== (times?.(id) ?? 1))).toEqual([])
}

/** Lets the bridge stream what came after, and sees that a new event comes. */
async function runOn(stage: BackfillStage, collector: Collector): Promise<void> {
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  await insert(stage.client, 1, 'after')
  await collector.until(
    () => collector.deliveries.some(({ routingKey }) => routingKey === 'order.after'),
    20_000,
    'after',
  )
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
}

test('rows that are there come first, as first deliveries, and the stream goes on behind them', async () => {
  const stage = await openStage(1000)
  const collector = await stage.collector()
  const plan = await stage.init(['--backfill', '--dry-run'])
  expect([plan.code, plan.stderr]).toEqual([
    0,
    expect.stringContaining('would be created  backfill of "public"."outbox": publishes 1000 rows'),
  ])
  expect(plan.stdout).toContain('CREATE_REPLICATION_SLOT')
  expect(await slots(stage)).toEqual([])

  const first = await stage.init()
  expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('1000 events published')])
  expect(await slots(stage)).toEqual([stage.name])
  expect(await states(stage)).toEqual(['done'])
  expect(await unstreamedBelow(stage)).toBeNull()
  await collector.until(() => collector.ids.size === 1000, 20_000, 'the rows')
  expect(collector.deliveries.map(({ id }) => id)).toEqual(await idsOfTable(stage))
  const { stored, confirmedFlush } = await stage.positions()
  expect(stored).toBe(confirmedFlush)
  const last = collector.deliveries.at(-1)!
  expect([last.commitLsn, last.ordinal]).toEqual([formatLsn(parseLsn(stored) - 1n), 999])
  const { rows } = await stage.client.query<{ at: string }>(
    `SELECT to_char(max(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at FROM outbox`,
  )
  expect(last.message.properties.headers).toEqual({
    aggregate_type: 'order',
    aggregate_id: '0',
    'wal-lsn': last.commitLsn,
    'wal-ordinal': 999,
    'wal-committed-at': rows[0]!.at,
  })

  // Safe to repeat.
  const again = await stage.init()
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining(`kept  slot ${stage.name}`)])
  await runOn(stage, collector)
  await expectAll(stage, collector)
  const listed = await runCommand(['replays'], stage.bridge.env)
  expect(listed.stdout).toMatch(/backfill +done +table/)
})

test('with writers at work and transactions open across the start, every committed row comes exactly once', async () => {
  const stage = await openStage(20_000)
  const collector = await stage.collector()
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    const client = new pg.Client({ connectionString: stage.options.databaseUrl })
    await client.connect()
    for (let n = 0; !stop.signal.aborted; n++) {
      await client.query('BEGIN')
      await insert(client, 1 + (n % 3))
      // One of the writers keeps its transactions open, so that some begin before the slot and commit after.
      await client.query('SELECT pg_sleep($1)', [writer === 0 ? 0.4 : 0.002])
      await client.query(n % 10 === 9 ? 'ROLLBACK' : 'COMMIT')
    }
    await client.end()
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  const first = await stage.init()
  expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('events published')])
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  stop.abort()
  await Promise.all(writers)
  await expectAll(stage, collector)
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  await expectAll(stage, collector)
})

test.each([
  ['replay-row:300', 'in the middle of the rows'],
  ['backfill-slot', 'there is a slot, and no checkpoint yet'],
  ...(isLong
    ? [
        ['backfill-snapshot', 'no row is published yet'],
        ['backfill-published', 'all rows are published, and there is no slot yet'],
      ]
    : []),
] as [string, string][])(
  'killed at %s, when %s: done again it misses nothing, and plain init does not step over it',
  async (failPoint) => {
    const stage = await openStage(500)
    const collector = await stage.collector()
    const before = new Set(await idsOfTable(stage))
    const killed = await stage.init(['--backfill'], { failPoint })
    expect(killed.code).toBe(null)
    // Committed between the snapshot and the next attempt.
    await insert(stage.client, 7, 'between')
    const wasMade = (await slots(stage)).includes(stage.name)
    expect(wasMade).toBe(failPoint === 'backfill-slot')

    const plain = await stage.init([])
    if (failPoint === 'backfill-snapshot') return // nothing was recorded: plain init decides for a stream without the rows
    if (wasMade) {
      expect([plain.code, plain.stderr]).toEqual([0, expect.stringContaining('created  checkpoint')])
      expect(await unstreamedBelow(stage)).toBeNull()
    } else expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining('error SLOT_MISSING: backfill ')])

    const again = await stage.init()
    expect([again.code, again.stderr]).toEqual([0, expect.any(String)])
    expect(await states(stage)).toEqual(
      { 'replay-row:300': ['abandoned', 'done'], 'backfill-published': ['done', 'done'] }[failPoint] ?? ['done'],
    )
    expect(await slots(stage)).toEqual([stage.name])
    await runOn(stage, collector)
    if (failPoint !== 'replay-row:300') return expectAll(stage, collector)
    await collector.until(() => collector.ids.size === 508, 20_000, 'all rows')
    // The broker may have taken any of what was sent by then.
    const twice = collector.deliveries.length - collector.ids.size
    expect(twice).toBeLessThanOrEqual(300)
    expect(before.size).toBe(500)
  },
)

test('dead letters of a backfill are kept under its id, and those of one that was killed are taken back', async () => {
  const stage = await openStage(0, { WAL2RABBIT_SINK_MAX_MESSAGE_SIZE: '1KiB' })
  const collector = await stage.collector()
  await stage.client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
      SELECT 'order', n::text, 'placed', to_jsonb(repeat('x', CASE WHEN n % 100 = 0 THEN 2000 ELSE 10 END))
      FROM generate_series(1, 3000) n`,
  )
  const kept = async () => {
    const text = `SELECT d.replay_id AS id, r.state, count(*)::int AS count, min(d.reason_code) AS reason
      FROM wal2rabbit.dead_letter d JOIN wal2rabbit.replay r ON r.id = d.replay_id GROUP BY 1, 2`
    return (await stage.client.query<Record<string, unknown>>(text)).rows
  }
  const dying = stage.init(['--backfill'], { failPoint: 'replay-row:2900' })
  expect((await dying).code).toBe(null)
  const again = await stage.init()
  expect([again.code, again.stderr]).toEqual([
    0,
    expect.stringContaining('2970 events published, 30 kept as dead letters'),
  ])
  expect(await kept()).toEqual([{ id: expect.any(String), state: 'done', count: 30, reason: 'EVENT_TOO_LARGE' }])
  await collector.until(() => collector.ids.size === 2970, 20_000, 'all others')
})

test('SIGINT stops it in order: nothing that keeps WAL is left, and it starts over', async () => {
  const stage = await openStage(60_000)
  const collector = await stage.collector()
  const some = collector.until(() => collector.ids.size > 0, 30_000, 'a row')
  const stopped = await stage.init(['--backfill'], { signal: 'SIGINT', when: some })
  expect([stopped.code, stopped.stderr]).toEqual([1, expect.stringContaining('starts over')])
  expect(await slots(stage)).toEqual([])
  expect(await states(stage)).toEqual(['stopped'])
  const again = await stage.init()
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('60000 events published')])
  await collector.until(() => collector.ids.size === 60_000, 60_000, 'all rows')
})

test('it is refused where a slot or a checkpoint is there already, and plain init says that rows are left out', async () => {
  const stage = await openStage(3)
  const plain = await stage.init([])
  expect([plain.code, plain.stderr]).toEqual([0, expect.stringContaining('"wal2rabbit init --backfill", in place of')])
  for (const args of [['--backfill'], ['--backfill', '--dry-run']]) {
    const refused = await stage.init(args)
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('error BACKFILL_REFUSED: slot')])
  }
  await stage.client.query('SELECT pg_drop_replication_slot($1)', [stage.name])
  expect((await stage.init()).stderr).toContain('error BACKFILL_REFUSED: a checkpoint')
  await stage.client.query('DELETE FROM wal2rabbit.checkpoint')
  expect((await stage.init(['--backfill', '--accept-gap'])).code).toBe(2)
  const now = await stage.init()
  expect([now.code, now.stderr]).toEqual([0, expect.stringContaining('3 events published')])
})

test('an interrupted backfill can be given up, and is not heard of again', async () => {
  const stage = await openStage(50)
  expect((await stage.init(['--backfill'], { failPoint: 'replay-row:10' })).code).toBe(null)
  expect((await stage.init([])).code).toBe(3)
  expect((await stage.init(['--accept-gap'])).code).toBe(0)
  expect(await unstreamedBelow(stage)).not.toBeNull()
  expect(await states(stage)).toEqual(['abandoned'])
  expect((await stage.init([])).code).toBe(0)
  expect((await stage.init()).stderr).toContain('BACKFILL_REFUSED')
})

test.for(['pgoutput', 'wal2json'] as const)(
  'a table made for another tool, without created_at and transaction_id, is published in the order of its rows: %s',
  async (plugin, context) => {
    const wal2json = await ensureWal2json()
    if (plugin === 'wal2json' && !wal2json.available) return context.skip(wal2json.reason)
    const stage = await openStage(0, { WAL2RABBIT_SOURCE_COLUMNS: 'debezium', WAL2RABBIT_SOURCE_PLUGIN: plugin })
    const collector = await stage.collector()
    await stage.client.query(
      `DROP TABLE outbox;
    CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload jsonb);
    INSERT INTO outbox SELECT gen_random_uuid(), 'order', '1', 'placed', to_jsonb(n) FROM generate_series(1, 200) n`,
    )
    // Killed when all are published: what is new cannot be told from what was, so all come again.
    expect((await stage.init(['--backfill'], { failPoint: 'backfill-published' })).code).toBe(null)
    const again = await stage.init()
    expect([again.code, again.stderr]).toEqual([0, expect.stringContaining('200 events published')])
    expect(await states(stage)).toEqual(['abandoned', 'done'])
    await collector.until(() => collector.deliveries.length === 400, 20_000, 'all rows twice')
    const bodies = collector.deliveries.map(({ body }) => Number(body))
    expect(bodies.slice(200)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
    stage.bridge.start()
    await stage.bridge.until((status) => status.state === 'streaming')
    await stage.client.query(`INSERT INTO outbox VALUES (gen_random_uuid(), 'order', '1', 'placed', '"after"')`)
    await collector.until(() => collector.deliveries.at(-1)?.body === '"after"', 20_000, 'after')
    expect(collector.deliveries.length).toBe(401)
    expect(await stage.bridge.end('SIGTERM')).toBe(0)
  },
)

test('killed at random moments and done again, with writers at work, nothing is missing', async () => {
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 100_000)
  console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
  const random = new SeededRandom(seed)
  const stage = await openStage(20_000)
  const collector = await stage.collector()
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const writer = (async () => {
    const client = new pg.Client({ connectionString: stage.options.databaseUrl })
    await client.connect()
    while (!stop.signal.aborted) {
      await insert(client, 5, 'late')
      await client.query('SELECT pg_sleep(0.02)')
    }
    await client.end()
  })()
  for (let kill = 0; kill < (isLong ? 10 : 2); kill++) {
    await stage.init(['--backfill'], { killAfter: random.between(300, 4000) })
    const left = await slots(stage)
    if (left.includes(stage.name)) break
  }
  const last = await stage.init()
  expect([last.code, last.stderr]).toEqual([0, expect.any(String)])
  expect(await slots(stage)).toEqual([stage.name])
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  stop.abort()
  await writer
  const ids = await idsOfTable(stage)
  await collector.until(() => collector.ids.size === ids.length, 60_000, 'all rows')
  expect([...collector.ids].toSorted()).toEqual(ids.toSorted())
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
})
