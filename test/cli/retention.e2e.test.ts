import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCommand } from '../support/bridge-process.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

let database: FreshDatabase
let stage: Stage

beforeAll(async () => {
  database = await freshDatabase()
  stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
    env: {
      WAL2RABBIT_CHECKPOINT_HISTORY_INTERVAL: '1s',
      WAL2RABBIT_DELIVERY_UNROUTABLE: 'block',
      WAL2RABBIT_LOG_FORMAT: 'json',
    },
  })
})

afterAll(async () => {
  await stage.dispose()
  await database.drop()
})

/** Events that say they are five hours old. */
async function insert(count: number, aggregate: string): Promise<void> {
  await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, created_at)
     SELECT 'order', $2, 'created', now() - interval '5 hours' FROM generate_series(1, $1)`,
    [count, aggregate],
  )
}

const left = async () => {
  const rows = await stage.query('SELECT aggregate_id AS a, count(*)::int AS n FROM outbox GROUP BY 1 ORDER BY 1')
  return Object.fromEntries(rows.map((row) => [row.a, row.n]))
}

/** What is stored up to now, as the bridge stored it, is taken for three hours old. */
async function threeHoursLater(): Promise<void> {
  await stage.query(`UPDATE wal2rabbit.checkpoint_history SET stored_at = stored_at - interval '3 hours'`)
}

const command = (...args: string[]) => runCommand(args, stage.bridge.env)
const retention = ['retention', '--set', 'outbox.retention=1h', '--json']

test('the bridge and the command delete what is delivered, and never what is not', async () => {
  stage.bridge.start()
  await stage.bridge.until(({ state }) => state === 'streaming')
  await insert(50, 'delivered')
  const events = async () => Number((await stage.query('SELECT events FROM wal2rabbit.checkpoint'))[0]!.events)
  await expect.poll(events, { timeout: 30_000 }).toBe(50)
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  await threeHoursLater()
  // The entry of the stop has its WAL end above the stored LSN: it serves once that has moved on.
  stage.bridge.start()
  await stage.bridge.until(({ state }) => state === 'streaming')
  await insert(1, 'later')
  await expect.poll(events, { timeout: 30_000 }).toBe(51)

  const mark = await command('checkpoints', 'mark', 'before-v2', '--json')
  expect([mark.code, JSON.parse(mark.stdout)]).toEqual([0, expect.objectContaining({ name: 'before-v2', events: 51 })])
  expect((await command('checkpoints', 'mark', 'before-v2')).code).toBe(2)

  const dryRun = await command(...retention, '--dry-run')
  expect([dryRun.code, JSON.parse(dryRun.stdout)]).toEqual([
    0,
    expect.objectContaining({ outcome: 'done', dryRun: true, rows: 50, partitions: [] }),
  ])
  expect(await left()).toEqual({ delivered: 50, later: 1 })
  const { tableReachesBackTo } = JSON.parse(dryRun.stdout)

  // As if RabbitMQ had gone: what comes from here on is not settled.
  await stage.withChannel((channel) => channel.unbindQueue(stage.name, stage.name, '#'))
  await insert(20, 'stuck')
  await stage.bridge.until(({ state }) => state === 'blocked')
  const done = await command(...retention)
  expect([done.code, JSON.parse(done.stdout)]).toEqual([
    0,
    expect.objectContaining({ outcome: 'done', dryRun: false, rows: 50, tableReachesBackTo }),
  ])
  expect(await left()).toEqual({ later: 1, stuck: 20 })
  const listed = await command('checkpoints')
  expect(listed.stderr).toContain(`table: back to ${tableReachesBackTo}`)
  expect(listed.stdout).toContain('before-v2')

  // Also not after hours of it, and not by the bridge itself.
  await threeHoursLater()
  await stage.bridge.end('SIGKILL')
  stage.bridge.start([], { WAL2RABBIT_OUTBOX_RETENTION: '1h' })
  const status = await stage.bridge.until(({ retention }) => retention?.lastPassAt != null, 60_000, 'a pass')
  expect((await left()).stuck).toBe(20)
  expect(status.retention).toMatchObject({ failing: null })
  expect(await (await fetch(`${stage.bridge.url}/metrics`)).text()).toMatch(/^wal2rabbit_outbox_retention_failing 0$/m)
  await stage.bridge.end('SIGKILL')
})

test('with the retention off the command says so', async () => {
  const off = await command('retention')
  expect(off.code).toBe(2)
  expect(off.stderr).toContain('outbox.retention is 0')
})
