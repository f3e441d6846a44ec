import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import type { GetMessage } from 'amqplib'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { ownEnvironment } from '../support/bridge-process.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit, uniqueName } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { type GuideBlock, guideBlocks, renamed, replayIdPattern, shapeOf } from './guide-blocks.ts'

// The three stories of docs/replay.md, with a real history behind them: each command of the guide is run as it stands there,
// must print what stands there, and the right events must arrive in the right queue.

// One story after the other, some of them at a rate.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const main = resolve(import.meta.dirname, '../../dist/cli/main.js')
const page = await readFile(new URL('../../docs/replay.md', import.meta.url), 'utf8')
const blocks = guideBlocks(page)
const lastDone = '8c5d4c1e-52a3-4d0e-9d2c-6f1c8f0b7a11'
const queues = ['billing', 'shipping', 'search'] as const
type QueueName = (typeof queues)[number]
const slot = uniqueName('guide').replaceAll('-', '_')

let database: FreshDatabase
let stage: Stage
let folder: string
/** What the guide calls it, and what it is here: names, times and ids. */
const here = new Map<string, string>()

beforeAll(async () => {
  database = await freshDatabase()
  stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
    env: { WAL2RABBIT_SOURCE_SLOT: slot, WAL2RABBIT_CHECKPOINT_HISTORY_INTERVAL: '1s' },
  })
  folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-guide-'))
  await writeFile(join(folder, 'wal2rabbit'), `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`)
  await chmod(join(folder, 'wal2rabbit'), 0o755)
  for (const queue of queues) here.set(queue, uniqueName(queue))
  await declare('billing', 'order.#', 'payment.#')
  await declare('shipping', 'order.#')
  await makeHistory()
})

afterAll(async () => {
  await stage.withChannel(async (channel) => {
    for (const queue of queues) await channel.deleteQueue(here.get(queue)!)
  })
  await stage.dispose()
  await database.drop()
  await rm(folder, { recursive: true })
})

async function declare(queue: QueueName, ...keys: string[]): Promise<void> {
  await stage.withChannel(async (channel) => {
    await channel.assertQueue(here.get(queue)!, { durable: true })
    for (const key of keys) await channel.bindQueue(here.get(queue)!, stage.name, key)
  })
}

/** What is in a queue, which is then empty. */
function drain(queue: QueueName): Promise<GetMessage[]> {
  return stage.withChannel(async (channel) => {
    const messages: GetMessage[] = []
    const get = () => channel.get(here.get(queue)!, { noAck: true })
    for (let message = await get(); message !== false; message = await get()) messages.push(message)
    return messages
  })
}

const idsIn = async (queue: QueueName) => (await drain(queue)).map(({ properties }) => String(properties.messageId))

/** The parts of the story, by the numbers of their orders. */
const parts = { week: 1000, before: 2000, bug: 3000, after: 4000, release: 5000, later: 6000, live: 7000 } as const
type Part = keyof typeof parts

/** Ids of the rows of some parts, in the order of their commits. */
async function idsOf(some: readonly Part[], aggregateType = '%'): Promise<string[]> {
  const thousands = some.map((part) => parts[part] / 1000)
  const rows = await stage.query(
    `SELECT id FROM outbox WHERE aggregate_id::int / 1000 = ANY ($1) AND aggregate_type LIKE $2
    ORDER BY transaction_id, created_at`,
    [thousands, aggregateType],
  )
  return rows.map(({ id }) => String(id))
}

/** Transactions of an order and its payment. Resolves when the bridge has stored them. */
async function insertOrders(count: number, part: Part, firstId: string | null = null): Promise<void> {
  const first = firstId === null ? 'NULL' : `'${firstId}'`
  await stage.query(
    `DO $$ BEGIN FOR n IN 1..${count} LOOP
      INSERT INTO outbox (id, aggregate_type, aggregate_id, type, payload) VALUES
        (coalesce(CASE n WHEN 1 THEN ${first}::uuid END, gen_random_uuid()), 'order', ${parts[part]} + n, 'OrderPlaced', '{}'),
        (gen_random_uuid(), 'payment', ${parts[part]} + n, 'PaymentTaken', '{}');
      COMMIT;
    END LOOP; END $$`,
  )
  await stored()
}

/** Resolves when all that has committed is settled and stored, and in the history. */
async function stored(): Promise<void> {
  const [row] = await stage.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')
  const end = parseLsn(String(row?.lsn))
  await stage.bridge.until(({ positions }) => parseLsn(positions.stored ?? '0/0') >= end, 30_000, 'stored')
}

/** Remembers the present time of the server under that of the guide, when an entry of the history is old enough for it. */
async function remember(time: string): Promise<void> {
  await stage.query(`SELECT pg_sleep(greatest(0, extract(epoch FROM
    max(stored_at) + interval '1.1 seconds' - clock_timestamp()))) FROM wal2rabbit.checkpoint_history`)
  const text = `to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
  here.set(time, String((await stage.query(`SELECT ${text} AS now`))[0]?.now))
}

/** A week ago without a window; then with one: a time of bugs. */
async function makeHistory(): Promise<void> {
  const { bridge } = stage
  bridge.start([], { WAL2RABBIT_REPLAY_WINDOW_TIME: '0' })
  await bridge.until(({ state }) => state === 'streaming')
  await remember('2026-01-24T00:00:00Z')
  await insertOrders(50, 'week')
  await stage.query(`DELETE FROM outbox WHERE aggregate_id = '1007'`)
  expect(await bridge.end('SIGTERM')).toBe(0)
  bridge.start()
  await bridge.until(({ state, replayWindow }) => state === 'streaming' && replayWindow?.anchors.length === 1)
  await insertOrders(20, 'before')
  await remember('2026-01-31T09:00:00Z')
  await insertOrders(600, 'bug')
  await stage.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, payload, headers)
    VALUES ('order', '3999', 'OrderPlaced', '{}', '{"CC": "audit"}')`)
  await stored()
  await stage.query(`DELETE FROM outbox WHERE aggregate_id = '3999'`)
  await remember('2026-01-31T12:00:00Z')
  await insertOrders(20, 'after')
  for (const queue of ['billing', 'shipping'] as const) await drain(queue)
}

interface Run {
  readonly child: ChildProcess
  readonly output: () => string
  readonly until: (text: RegExp) => Promise<void>
  readonly ended: Promise<number | null>
}

/** A command as a shell runs it, both streams into one, as on a terminal. */
function start({ command }: GuideBlock): Run {
  const child = spawn('sh', ['-c', `exec 2>&1; exec ${renamed(command, here)}`], {
    env: { ...ownEnvironment(stage.bridge.env), PATH: `${folder}${delimiter}${process.env.PATH}` },
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout!.on('data', (data) => {
    output += data
  })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  const until = async (text: RegExp) => {
    while (!text.test(output)) {
      const more = await Promise.race([once(child.stdout!, 'data'), ended.then(() => undefined)])
      if (more === undefined && !text.test(output)) throw new Error(`${text} never came: ${output}`)
    }
  }
  return { child, output: () => output, until, ended }
}

/** Compares with the guide; what the guide calls by another id is known by it from here on. */
function compare(block: GuideBlock, output: string): void {
  const back = new Map([...here].map(([name, real]) => [real, name]))
  back.set(stage.name, 'outbox').set(slot, 'wal2rabbit')
  const said = renamed(output, back)
  const [expected, actual] = [shapeOf(block.output), shapeOf(said)]
  const problem = block.some ? expected.filter((line) => !actual.includes(line)) : []
  expect(problem, said).toEqual([])
  if (!block.some) expect(actual, said).toEqual(expected)
  const [guideIds, ids] = [block.output, output].map((text) => [...text.matchAll(replayIdPattern())].map(([id]) => id))
  guideIds!.forEach((id, index) => {
    if (!here.has(id) && ids![index] !== undefined) here.set(id, ids![index])
  })
}

const blockOf = (name: string) => {
  const block = blocks.find((one) => one.name === name)
  if (block === undefined) throw new Error(`the guide has no block ${name}`)
  ran.add(name)
  return block
}
const ran = new Set<string>()

async function run(name: string, exitCode = 0): Promise<void> {
  const block = blockOf(name)
  const { ended, output } = start(block)
  expect([await ended, output()]).toEqual([exitCode, expect.anything()])
  compare(block, output())
}

/** Of a replay, and of nothing else. */
function expectReplayed(messages: readonly GetMessage[]): void {
  expect(new Set(messages.map(({ properties }) => properties.headers?.['wal-replay'])).size).toBe(1)
  expect(messages.every(({ properties }) => typeof properties.headers?.['wal-replay'] === 'string')).toBe(true)
}

test('a consumer had a bug: the orders of that time, in that queue, in their order, and the one that cannot be sent', async () => {
  await run('bug/checkpoints')
  await run('bug/dry-run')
  expect(await drain('billing')).toEqual([])
  const replay = start(blockOf('bug/replay'))
  await replay.until(/\nreplay \S+\n/)
  await run('bug/watch')
  expect([await replay.ended, replay.output()]).toEqual([1, expect.anything()])
  compare(blockOf('bug/replay'), replay.output())
  expect(replay.output()).toMatch(/\n\d+ events, \d+\/s, /)
  const messages = await drain('billing')
  const ids = messages.map(({ properties }) => String(properties.messageId))
  expect(ids).toEqual(await idsOf(['bug'], 'order'))
  expectReplayed(messages)
  expect(await drain('shipping')).toEqual([])
  await run('bug/dead-letters')
  await run('bug/discard')
  const left = await stage.query('SELECT replay_id FROM wal2rabbit.dead_letter')
  expect(left).toEqual([{ replay_id: null }])
})

test('a queue was purged: all orders since the mark, or since an event, in that queue or in all', async () => {
  await run('purge/mark')
  await insertOrders(30, 'release')
  await insertOrders(20, 'later', lastDone)
  await drain('billing')
  await stage.withChannel((channel) => channel.purgeQueue(here.get('shipping')!))
  await run('purge/replay')
  const orders = await idsOf(['release', 'later'], 'order')
  expect(await idsIn('shipping')).toEqual(orders)
  expect(await drain('billing')).toEqual([])
  await run('purge/event')
  expect(await drain('shipping')).toEqual([])
  await run('purge/everywhere')
  expect(await idsIn('shipping')).toEqual(await idsOf(['later'], 'order'))
  expect(await idsIn('billing')).toEqual(await idsOf(['later']))
})

test('a new service needs the past week: every row that is still there, from the table, in its queue', async () => {
  await declare('search', '#')
  await run('week/dry-run')
  await run('week/replay')
  const messages = await drain('search')
  expectReplayed(messages)
  const ids = messages.map(({ properties }) => String(properties.messageId))
  expect(ids.toSorted()).toEqual((await idsOf(Object.keys(parts) as Part[])).toSorted())
  expect(messages.some(({ properties }) => 'wal-lsn' in (properties.headers ?? {}))).toBe(false)
  expect([...(await idsIn('billing')), ...(await idsIn('shipping'))]).toEqual([])
  await run('week/too-far', 3)
  expect(await drain('search')).toEqual([])
})

test('stopped with SIGINT and resumed: every order once', async () => {
  const stop = start(blockOf('stop/stop'))
  await stop.until(/ events, \d+\/s, /)
  stop.child.kill('SIGINT')
  expect([await stop.ended, stop.output()]).toEqual([1, expect.anything()])
  compare(blockOf('stop/stop'), stop.output())
  await run('stop/resume')
  expect(await idsIn('shipping')).toEqual(await idsOf(['release', 'later'], 'order'))
})

test('no block that is marked was left out, and the live stream went on', async () => {
  expect(blocks.map(({ name }) => name).filter((name) => !ran.has(name))).toEqual([])
  await insertOrders(1, 'live')
  expect(await idsIn('shipping')).toEqual(await idsOf(['live'], 'order'))
})
