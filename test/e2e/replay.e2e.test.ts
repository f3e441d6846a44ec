import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { type CommandResult, runCommand } from '../support/bridge-process.ts'
import { difference, ReplayWatch, type Seen } from '../support/replay-watch.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit, uniqueName } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

let database: FreshDatabase
let stage: Stage
let live: ReplayWatch

beforeAll(async () => {
  database = await freshDatabase()
  const { url } = sharedRabbit()
  stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: url,
    env: { WAL2RABBIT_CHECKPOINT_HISTORY_INTERVAL: '1s' },
  })
  live = await ReplayWatch.bind(url, stage.name, `${stage.name}_live`)
  stage.bridge.start()
  await stage.bridge.until(({ state, replayWindow }) => state === 'streaming' && replayWindow?.anchors.length === 1)
  await insert(30, 'First')
})

afterAll(async () => {
  await live.close()
  await stage.dispose()
  await database.drop()
})

const insertSql = `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
  SELECT 'order', (n % 5)::text, $2, jsonb_build_object('n', n) FROM generate_series(1, $1::int) n RETURNING id`

/** One transaction; resolves when it has arrived and is stored. */
async function insert(count: number, type: string): Promise<Seen[]> {
  const rows = await stage.query(insertSql, [count, type])
  return arrived(rows.map((row) => String(row.id)))
}

async function arrived(ids: readonly string[]): Promise<Seen[]> {
  const wanted = new Set(ids)
  const found = () => live.seen.filter(({ id }) => wanted.has(id))
  await live.untilHolds(() => found().length >= ids.length, 20_000, 'live events')
  const last = found().at(-1)!.lsn
  await stage.bridge.until(({ positions }) => parseLsn(positions.stored ?? '0/0') > last, 10_000, 'stored')
  return found()
}

interface Replayed {
  readonly result: CommandResult
  readonly seen: readonly Seen[]
}

/** Replays to an exchange of its own, and gives what arrived there. */
async function replay(...args: string[]): Promise<Replayed> {
  const exchange = uniqueName('replay')
  const watch = await ReplayWatch.bind(sharedRabbit().url, exchange, exchange)
  try {
    const result = await runCommand(['replay', ...args, '--exchange', exchange, '--json'], stage.bridge.env)
    if (result.stdout !== '') await watch.until(JSON.parse(result.stdout).eventsPublished, 10_000)
    return { result, seen: watch.seen }
  } finally {
    await watch.close()
    await stage.withChannel(async (channel) => void (await channel.deleteExchange(exchange)))
  }
}

/** Everything that was delivered live from an LSN on. */
function since(lsn: bigint): Seen[] {
  return live.seen.filter((seen) => seen.lsn >= lsn)
}

function expectReplayed({ result, seen }: Replayed, expected: readonly Seen[]): void {
  expect(result.code, result.stderr).toBe(0)
  expect(difference(seen, expected)).toBeUndefined()
}

describe('--from, from the WAL', () => {
  test('a commit LSN: that transaction and all after it; an end LSN: all after it', async () => {
    const first = await insert(3, 'Commit')
    const second = await insert(2, 'Commit')
    const [row] = await stage.query('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint WHERE slot = $1', [stage.name])
    expectReplayed(await replay('--from', formatLsn(first[0]!.lsn)), since(first[0]!.lsn))
    expectReplayed(await replay('--from', formatLsn(second[0]!.lsn)), second)
    // One byte into the commit record, and its end: the transaction lies before.
    expectReplayed(await replay('--from', formatLsn(second[0]!.lsn + 1n)), [])
    const end = await replay('--from', String(row!.lsn))
    expectReplayed(end, [])
  })

  test('an LSN inside of a transaction, below its commit record: the whole transaction', async () => {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    try {
      await client.query('BEGIN')
      const one = await client.query(insertSql, [2, 'Inside'])
      const { rows } = await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')
      const two = await client.query(insertSql, [2, 'Inside'])
      await client.query('COMMIT')
      const ids = [...one.rows, ...two.rows].map((row) => String(row.id))
      const events = await arrived(ids)
      expectReplayed(await replay('--from', String(rows[0].lsn)), events)
    } finally {
      await client.end()
    }
  })

  test('an event: from it on, to an event: including it', async () => {
    const events = await insert(10, 'Events')
    await insert(1, 'Events')
    const range = await replay('--from', `event:${events[3]!.id.toUpperCase()}`, '--to', `event:${events[7]!.id}`)
    expectReplayed(range, events.slice(3, 8))
    expectReplayed(await replay('--from', `event:${events[3]!.id}`), since(events[0]!.lsn).slice(3))
  })

  test('a time: what committed then or later; to a time: what committed before', async () => {
    await insert(2, 'Before')
    const from = new Date().toISOString()
    const inRange = await insert(4, 'Within')
    const to = new Date().toISOString()
    await insert(2, 'After')
    expectReplayed(await replay('--from', from, '--to', to), inRange)
  })

  test('a mark', async () => {
    expect((await runCommand(['checkpoints', 'mark', 'before-release'], stage.bridge.env)).code).toBe(0)
    const events = await insert(5, 'Marked')
    expectReplayed(await replay('--from', 'before-release'), events)
  })
})

describe('refused, and nothing is published', () => {
  test.each([
    ['below everything that is kept', ['--from', '0/1'], 3, 'REPLAY_OUT_OF_REACH'],
    ['a time before everything', ['--from', '2001-01-01'], 3, 'REPLAY_OUT_OF_REACH'],
    ['in the future', ['--from', 'FFFF/0'], 2, 'POSITION_AHEAD'],
    ['a time in the future', ['--from', '2999-01-01'], 2, 'POSITION_AHEAD'],
    ['an end in the future', ['--from', '0/1', '--to', 'FFFF/0'], 2, 'POSITION_AHEAD'],
    ['an event that never existed', ['--from', 'event:00000000-0000-4000-8000-000000000000'], 2, 'POSITION_UNKNOWN'],
    ['an event id that is no uuid', ['--from', "event:'; DROP TABLE outbox; --"], 2, 'POSITION_UNKNOWN'],
    ['a mark that does not exist', ['--from', 'nowhere'], 2, 'POSITION_UNKNOWN'],
    ['a position in no known form', ['--from', '16-B374D848'], 2, 'USAGE'],
    ['neither --from nor --resume', [], 2, 'USAGE'],
    ['a replay that does not exist', ['--resume', 'nope'], 2, 'USAGE'],
  ])('%s', async (_, args, code, error) => {
    const before = live.seen.length
    const result = await runCommand(['replay', ...args], stage.bridge.env)
    expect(result.stderr).toContain(`error ${error}: `)
    expect(result.stderr).toContain('remedy: ')
    expect(result.code).toBe(code)
    expect(live.seen.length).toBe(before)
  })

  test('a mark of a timeline that was left below it', async () => {
    await runCommand(['checkpoints', 'mark', 'lost'], stage.bridge.env)
    // As after a promotion: the server is on another timeline, which branched off before the mark.
    await stage.query(`UPDATE wal2rabbit.checkpoint_history SET timeline = 77 WHERE slot = $1 AND name = 'lost'`, [
      stage.name,
    ])
    const result = await runCommand(['replay', '--from', 'lost'], stage.bridge.env)
    expect(result.stderr).toContain('error TIMELINE_DIVERGED: --from: mark lost is LSN ')
    expect(result.code).toBe(3)
  })

  test('a queue that does not exist', async () => {
    await insert(1, 'NoQueue')
    const replays = async () => (await stage.query('SELECT count(*) AS n FROM wal2rabbit.replay'))[0]!.n
    const before = await replays()
    const result = await runCommand(
      ['replay', '--from', 'before-release', '--queue', uniqueName('none')],
      stage.bridge.env,
    )
    expect(result.stderr).toContain('error USAGE: --queue is ')
    expect(result.code).toBe(2)
    expect(await replays()).toBe(before)
  })

  test('an end before the start', async () => {
    const events = await insert(1, 'Order')
    const to = formatLsn(events[0]!.lsn - 1n)
    const result = await runCommand(['replay', '--from', formatLsn(events[0]!.lsn), '--to', to], stage.bridge.env)
    expect(result.stderr).toContain('lies before --from')
    expect(result.code).toBe(2)
  })
})

describe('what of the range, where to and how fast', () => {
  test('--where takes globs; one key twice is either, two keys are both', async () => {
    await insert(10, 'WhereA')
    await insert(10, 'WhereB')
    await insert(10, 'Other')
    const from = ['--from', 'before-release']
    const typed = async (type: string) =>
      new Set((await stage.query('SELECT id FROM outbox WHERE type LIKE $1', [type])).map(({ id }) => String(id)))
    const both = await replay(...from, '--where', 'type=WhereA', '--where', 'type=WhereB')
    const where = await typed('Where_')
    expectReplayed(
      both,
      live.seen.filter(({ id }) => where.has(id)),
    )
    expect(both.seen.length).toBe(20)
    const one = await replay(...from, '--where', 'type=Where?', '--where', 'aggregate_id=3')
    expect(one.seen.length).toBe(4)
  })

  test('--queue reaches that queue alone', async () => {
    const queue = uniqueName('only')
    await stage.withChannel(async (channel) => {
      await channel.assertQueue(queue, { durable: true })
      onTestFinished(() => stage.withChannel(async (other) => void (await other.deleteQueue(queue))))
    })
    await insert(3, 'OneQueue')
    const before = live.seen.length
    const args = ['replay', '--from', 'before-release', '--where', 'type=OneQueue', '--queue', queue]
    const result = await runCommand(args, stage.bridge.env)
    expect(result.code, result.stderr).toBe(0)
    await stage.withChannel(async (channel) => {
      const { messageCount } = await channel.checkQueue(queue)
      expect(messageCount).toBe(3)
      const message = await channel.get(queue, { noAck: true })
      expect(message !== false && message.properties.headers?.['wal-replay']).toMatch(/^\d{14}-[0-9a-f]{4}$/)
    })
    expect(live.seen.length).toBe(before)
  })

  test('--dry-run counts and shows the first and the last, publishes and records nothing', async () => {
    const events = await insert(7, 'Dry')
    const before = live.seen.length
    const args = ['replay', '--from', 'before-release', '--where', 'type=Dry', '--dry-run', '--json']
    const result = await runCommand(args, stage.bridge.env)
    expect(result.code, result.stderr).toBe(0)
    const { events: count, first, last } = JSON.parse(result.stdout)
    expect([count, first.eventId, last.eventId]).toEqual([7, events[0]!.id, events.at(-1)!.id])
    expect(live.seen.length).toBe(before)
    const { stdout } = await runCommand(['replays', '--json', '--limit', '1'], stage.bridge.env)
    expect(JSON.stringify(JSON.parse(stdout)[0]?.request.where)).not.toContain('Dry')
  })

  test('what cannot be delivered is kept apart, under the id of the replay', async () => {
    await insert(2, 'Dead')
    // Nothing is bound to it.
    const exchange = uniqueName('unbound')
    await stage.withChannel(async (channel) => void (await channel.assertExchange(exchange, 'topic')))
    onTestFinished(() => stage.withChannel(async (channel) => void (await channel.deleteExchange(exchange))))
    const args = ['replay', '--from', 'before-release', '--where', 'type=Dead', '--exchange', exchange, '--json']
    const result = await runCommand(args, { ...stage.bridge.env, WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '1' })
    expect(result.code).toBe(1)
    const { id, deadLettered } = JSON.parse(result.stdout)
    expect(deadLettered).toBe(2)
    const list = await runCommand(['dead-letters', 'list', '--replay', id, '--json'], stage.bridge.env)
    expect(JSON.parse(list.stdout).total).toBe(2)
    // With their route mended they go out, with the header.
    const watch = await ReplayWatch.bind(sharedRabbit().url, exchange, exchange)
    const retry = await runCommand(['dead-letters', 'retry', '--replay', id], stage.bridge.env)
    expect(retry.code, retry.stderr).toBe(0)
    await watch.until(2, 5000)
    expect(watch.seen.map(({ replayId }) => replayId)).toEqual([id, id])
    await watch.close()
  })
})

test('SIGINT stops cleanly, says how to go on, and --resume gives the rest without a repeat', async () => {
  const exchange = uniqueName('slow')
  const watch = await ReplayWatch.bind(sharedRabbit().url, exchange, exchange)
  onTestFinished(() => watch.close())
  const events = await insert(600, 'Slow')
  const stopped = runCommand(
    ['replay', '--from', formatLsn(events[0]!.lsn), '--exchange', exchange, '--rate', '200/s', '--json'],
    stage.bridge.env,
    { signal: 'SIGINT', when: watch.until(100, 30_000) },
  )
  const { code, stdout, stderr } = await stopped
  expect(code, stderr).toBe(1)
  const { id, eventsPublished, state } = JSON.parse(stdout)
  expect(state).toBe('stopped')
  expect(stderr).toContain(`wal2rabbit replay --resume ${id}`)
  expect(stderr).toMatch(/--from [0-9A-F]+\/[0-9A-F]+/)
  await watch.until(eventsPublished, 5000)
  expect(watch.seen.length).toBeLessThan(600)
  const resumed = await runCommand(['replay', '--resume', id], stage.bridge.env)
  expect(resumed.code, resumed.stderr).toBe(0)
  await watch.until(600, 10_000)
  expect(difference(watch.seen, since(events[0]!.lsn).slice(0, 600))).toBeUndefined()
  expect(watch.seen.every(({ replayId }) => replayId === id)).toBe(true)
  // Done is done.
  expect((await runCommand(['replay', '--resume', id], stage.bridge.env)).code).toBe(2)
})

test('killed after its last row and before that is recorded, a replay from the table has nothing left to do', async () => {
  const exchange = uniqueName('whole')
  const watch = await ReplayWatch.bind(sharedRabbit().url, exchange, exchange)
  onTestFinished(() => watch.close())
  const [first] = await insert(3, 'Whole')
  const args = ['--from', formatLsn(first!.lsn), '--source', 'table', '--exchange', exchange, '--json']
  const whole = await runCommand(['replay', ...args], stage.bridge.env)
  expect(whole.code, whole.stderr).toBe(0)
  const { id, eventsPublished } = JSON.parse(whole.stdout)
  await stage.query(`UPDATE wal2rabbit.replay SET state = 'running', finished_at = NULL WHERE id = $1`, [id])
  const resumed = await runCommand(['replay', '--resume', id, '--json'], stage.bridge.env)
  expect(resumed.code, resumed.stderr).toBe(0)
  expect(JSON.parse(resumed.stdout)).toMatchObject({ state: 'done', eventsPublished })
})

describe.each(['wal', 'table'])(
  'a transaction that inserted before a checkpoint and committed after it, from the %s',
  (source) => {
    test('is in the replay from that checkpoint', async () => {
      const client = new pg.Client({ connectionString: database.url })
      await client.connect()
      try {
        await client.query('BEGIN')
        const { rows } = await client.query(insertSql, [3, 'LongOpen'])
        await insert(5, 'Meanwhile')
        const mark = `open-${source}`
        expect((await runCommand(['checkpoints', 'mark', mark], stage.bridge.env)).code).toBe(0)
        await insert(5, 'Later')
        await client.query('COMMIT')
        const open = await arrived(rows.map((row) => String(row.id)))
        const { result, seen } = await replay('--from', mark, '--source', source)
        expect(result.code, result.stderr).toBe(0)
        expect(result.stderr).toContain(`source ${source}`)
        const ids = new Set(seen.map(({ id }) => id))
        expect(open.filter(({ id }) => !ids.has(id))).toEqual([])
        if (source === 'table') expect(seen.every(({ ordinal }) => ordinal === -1)).toBe(true)
      } finally {
        await client.end()
      }
    })
  },
)
