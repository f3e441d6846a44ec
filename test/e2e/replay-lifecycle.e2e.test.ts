import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest'
import { runCommand } from '../support/bridge-process.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

// What a replay comes to when it is stopped, refused or held up elsewhere than in the middle of its run. Locks hold it where
// the test wants it. No bridge: the checkpoint says that all is delivered.

let database: FreshDatabase
let stage: Stage
let locker: pg.Client
let from: string
const count = 20

beforeAll(async () => {
  database = await freshDatabase()
  stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url, queueType: 'classic' })
  locker = new pg.Client({ connectionString: database.url })
  await locker.connect()
  from = String((await stage.query('SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]!.lsn)
  await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type) SELECT 'order', '1', 'Made' FROM generate_series(1, $1::int)`,
    [count],
  )
  await stage.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn(), version = version + 1')
})

afterEach(async () => {
  await locker.query('ROLLBACK')
  await stage.withChannel(async (channel) => void (await channel.purgeQueue(stage.name)))
})

afterAll(async () => {
  await locker.end()
  await stage.dispose()
  await database.drop()
})

const replay = (...args: string[]) => runCommand(['replay', ...args, '--json'], stage.bridge.env)
const fromTable = () => replay('--from', from, '--source', 'table')
const records = () => stage.query('SELECT id, state, error_code FROM wal2rabbit.replay ORDER BY started_at DESC')
const published = () => stage.withChannel(async (channel) => (await channel.checkQueue(stage.name)).messageCount)

/** Nobody else gets at the table until the end of the test, or `locker` rolls back. */
async function lock(table: string): Promise<void> {
  await locker.query('BEGIN')
  await locker.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`)
}

/** Resolves with the process of the server in which a statement that contains `text` waits for a lock. */
async function untilWaiting(text: string): Promise<number> {
  const sql = `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0`
  let pid: unknown
  await expect
    .poll(async () => (pid = (await stage.query(sql, [text]))[0]?.pid), { interval: 20, timeout: 20_000 })
    .toBeDefined()
  return Number(pid)
}

/** Sends SIGINT to the commands that run within this process, and to nobody else. */
function interrupter(): () => void {
  const others = process.listeners('SIGINT')
  return () => {
    const own = process.listeners('SIGINT').filter((listener) => !others.includes(listener))
    expect(own, 'who listens for SIGINT').toHaveLength(1)
    own[0]!('SIGINT')
  }
}

/** A replay that has failed some time ago, with everything still to be published. */
async function failedReplay(): Promise<string> {
  const { id } = JSON.parse((await replay('--from', from, '--to', from)).stdout)
  await stage.query(
    `UPDATE wal2rabbit.replay SET state = 'failed', error_code = 'SINK_UNREACHABLE', error_text = 'away',
      to_lsn = (SELECT lsn FROM wal2rabbit.checkpoint) WHERE id = $1`,
    [id],
  )
  return id
}

const failedAs = (error_code: string) => ({ state: 'failed', error_code })

test('stopped while it looks for its event, it ends at once: nothing is published or recorded', async () => {
  const before = await records()
  await lock('outbox')
  const args = ['replay', '--from', 'event:00000000-0000-4000-8000-000000000000']
  const { code, stdout, stderr } = await runCommand(args, stage.bridge.env, {
    signal: 'SIGINT',
    when: untilWaiting('FROM "public"."outbox"'),
  })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain('\nstopping\nstopped: nothing was published, and nothing is recorded\n')
  expect(await records()).toEqual(before)
})

test('rows that cannot be counted in time are replayed all the same', async () => {
  await lock('outbox')
  const running = fromTable()
  // As statement_timeout does.
  await stage.query('SELECT pg_cancel_backend($1)', [await untilWaiting('SELECT count(*)')])
  await locker.query('ROLLBACK')
  const { code, stdout, stderr } = await running
  expect(code, stderr).toBe(0)
  expect(stderr).toContain('its rows could not be counted')
  expect(JSON.parse(stdout)).toMatchObject({ state: 'done', eventsPublished: count })
})

test('stopped while it counts, it is recorded as stopped, says how to go on, and that gives all', async () => {
  const interrupt = interrupter()
  await lock('outbox')
  const running = fromTable()
  await untilWaiting('SELECT count(*)')
  interrupt()
  const { code, stdout, stderr } = await running
  const { id, state, eventsPublished } = JSON.parse(stdout)
  expect([code, state, eventsPublished]).toEqual([1, 'stopped', 0])
  expect(stderr).toContain(`\nstopping\nto go on without a repeat: wal2rabbit replay --resume ${id}\n`)
  expect(stderr).not.toContain('could not be counted')
  expect((await records())[0]).toEqual({ id, state: 'stopped', error_code: null })
  await locker.query('ROLLBACK')
  expect(await replay('--resume', id)).toMatchObject({ code: 0 })
  expect(await published()).toBe(count)
})

test('a signal while its end is recorded does not keep that from being recorded', async () => {
  const interrupt = interrupter()
  await stage.query(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$`)
  await stage.query(`CREATE TRIGGER hold BEFORE UPDATE ON wal2rabbit.replay FOR EACH ROW
    WHEN (NEW.state = 'done') EXECUTE FUNCTION hold()`)
  onTestFinished(() => void stage.query('DROP FUNCTION hold CASCADE'))
  await locker.query('BEGIN')
  await locker.query('SELECT pg_advisory_xact_lock(4711)')
  const running = replay('--from', from)
  await untilWaiting('UPDATE wal2rabbit.replay')
  interrupt()
  await locker.query('ROLLBACK')
  const { code, stdout } = await running
  const { id } = JSON.parse(stdout)
  expect(code).toBe(0)
  expect((await records())[0]).toEqual({ id, state: 'done', error_code: null })
})

test('a replay of another timeline is refused, and keeps the error that it had', async () => {
  const id = await failedReplay()
  await stage.query('UPDATE wal2rabbit.replay SET timeline = 77 WHERE id = $1', [id])
  const { code, stderr } = await replay('--resume', id)
  expect([code, stderr]).toEqual([3, expect.stringContaining('error TIMELINE_DIVERGED')])
  expect((await records())[0]).toEqual({ id, ...failedAs('SINK_UNREACHABLE') })
})

test('stopped while it looks whether it may go on, it is recorded as it was', async () => {
  const id = await failedReplay()
  const interrupt = interrupter()
  await lock('wal2rabbit.checkpoint')
  const running = replay('--resume', id)
  const pid = await untilWaiting('FROM wal2rabbit.checkpoint')
  interrupt()
  const { code, stderr } = await running
  expect([code, stderr]).toEqual([
    1,
    `\nstopping\nstopped: nothing was published, and replay ${id} is recorded as it was\n`,
  ])
  await stage.query('SELECT pg_terminate_backend($1)', [pid])
  expect((await records())[0]).toEqual({ id, ...failedAs('SINK_UNREACHABLE') })
})

test('what fails before it publishes is recorded as its error', async () => {
  const id = await failedReplay()
  const tls = { WAL2RABBIT_SINK_URL: 'amqps://127.0.0.1:1', WAL2RABBIT_SINK_TLS_CA: '/nowhere/ca.pem' }
  const env = { ...stage.bridge.env, ...tls }
  const result = await runCommand(['replay', '--resume', id], env)
  expect([result.code, result.stderr]).toEqual([2, expect.stringContaining('error CONFIG_INVALID')])
  expect(result.stdout).toContain(`replay ${id} failed: 0 events published`)
  expect((await records())[0]).toEqual({ id, ...failedAs('CONFIG_INVALID') })
  expect(await published()).toBe(0)
})
