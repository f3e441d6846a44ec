import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { runCommand } from '../support/bridge-process.ts'
import { isLong } from '../support/length.ts'
import { ReplayWatch } from '../support/replay-watch.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { freshDatabase, sharedRabbit, uniqueName } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { emptyLedger, runWorkload } from '../support/workload.ts'

async function openStage(env: Record<string, string> = {}, before?: string) {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  if (before !== undefined) await query(database.url, before)
  const { url } = sharedRabbit()
  const broker = await startTcpProxy(url)
  onTestFinished(() => broker.close())
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: url,
    env: {
      WAL2RABBIT_CHECKPOINT_HISTORY_INTERVAL: '1s',
      WAL2RABBIT_REPLAY_WINDOW_BYTES: '0',
      ...env,
    },
  })
  onTestFinished(() => stage.dispose())
  const live = await ReplayWatch.bind(url, stage.name, `${stage.name}_live`)
  onTestFinished(() => live.close())
  /** Only the bridge is slow: a replay takes the broker itself. */
  stage.bridge.start([], { WAL2RABBIT_SINK_URL: broker.urlFor(url) })
  await stage.bridge.until(({ state }) => state === 'streaming')
  return { database, broker, stage, live }
}

async function query(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(text)
  await client.end()
}

type Opened = Awaited<ReturnType<typeof openStage>>

/** Replays from the table to an exchange of its own, killed `kills` times at random; gives the ids that arrived there. */
async function replay({ stage }: Opened, args: readonly string[], kills = 0, random = new SeededRandom(1)) {
  const exchange = uniqueName('table')
  const watch = await ReplayWatch.bind(sharedRabbit().url, exchange, exchange)
  const { env } = stage.bridge
  let command = ['replay', ...args, '--source', 'table', '--exchange', exchange, '--json']
  for (let kill = 0; kill < kills; kill++) {
    await runCommand(command, env, { killAfterNote: random.between(0, 1500) })
    const { id, state } = JSON.parse((await runCommand(['replays', '--json', '--limit', '1'], env)).stdout)[0]
    if (state === 'done') break
    command = ['replay', '--resume', id, '--json']
  }
  const result = await runCommand(command, env)
  const { eventsPublished } = JSON.parse(result.stdout)
  expect([result.code, result.stderr]).toEqual([0, expect.stringContaining('source table')])
  await watch.until(eventsPublished, 30_000)
  await watch.close()
  await stage.withChannel(async (channel) => void (await channel.deleteExchange(exchange)))
  return { ids: watch.seen.map(({ id }) => id), notes: result.stderr }
}

/** One transaction after the other that is open for a second and more, each with rows at its beginning and its end. */
async function writeSlowly(url: string, signal: AbortSignal): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const insert = `INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('slow', '1', 'Slow')`
  while (!signal.aborted) {
    for (const statement of ['BEGIN', insert, 'SAVEPOINT s', insert, 'SELECT pg_sleep(1.3)', insert, 'COMMIT']) {
      await client.query(statement)
    }
  }
  await client.end()
}

// What is stored lags far behind what a snapshot of the same moment sees.
test('under a heavy load, with a broker that lags behind, a replay from the table misses nothing from any stored LSN on', async () => {
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 100_000)
  console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
  const opened = await openStage()
  const { database, broker, stage, live } = opened
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  broker.bandwidth(200_000, 'to-server')
  const writers = [
    runWorkload(
      {
        ...{ url: database.url, connections: 4, transactions: Number.POSITIVE_INFINITY, seed },
        ...{ pause: 5, signal: abort.signal },
      },
      emptyLedger(),
    ),
    writeSlowly(database.url, abort.signal),
  ]
  await live.until(isLong ? 2000 : 1000, 60_000)
  abort.abort()
  await Promise.all(writers)
  const { lag } = (await stage.bridge.status())!
  const table = (await stage.query('SELECT id::text AS id FROM outbox')).map(({ id }) => String(id))
  expect(live.seen.length, 'the bridge lags behind').toBeLessThan(table.length)
  broker.heal()
  await live.untilHolds(() => live.seen.length >= table.length, 120_000, 'all events')
  await stage.bridge.until(({ window }) => window.messages === 0)
  // One behind all that was written, on a fast machine too, where the others lie close together at its beginning.
  await stage.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('last', '1', 'Last')`)
  await live.untilHolds(() => live.seen.length > table.length, 20_000, 'the last event')
  const last = live.seen.at(-1)!.lsn
  await stage.bridge.until(({ positions }) => parseLsn(positions.stored ?? '0/0') > last, 20_000, 'the last one stored')
  const marked = await runCommand(['checkpoints', 'mark', 'end'], stage.bridge.env)
  expect(marked.code, marked.stderr).toBe(0)

  const listed = await runCommand(['checkpoints', '--json', '--limit', '1000'], stage.bridge.env)
  const entries = JSON.parse(listed.stdout) as { lsn: string; replayable: string[] }[]
  const usable = entries.filter(({ replayable }) => replayable.includes('table')).reverse()
  const step = isLong ? 1 : Math.ceil(usable.length / 4)
  const kept = new Set(table)
  const random = new SeededRandom(seed)
  const kills = isLong ? 30 : 2
  let fewest = table.length
  const chosen = usable.filter((_, index) => index % step === 0 || index === usable.length - 1)
  for (const [n, { lsn }] of chosen.entries()) {
    // The first one slowly enough to be killed that often.
    const rate = isLong ? '400/s' : '2000/s'
    const { ids } = await (n === 0
      ? replay(opened, ['--from', lsn, '--rate', rate], kills, random)
      : replay(opened, ['--from', lsn]))
    const arrived = new Set(ids)
    const expected = live.seen.filter((seen) => seen.lsn >= parseLsn(lsn) && kept.has(seen.id))
    expect(expected.filter(({ id }) => !arrived.has(id)).slice(0, 3), `missing from ${lsn} on`).toEqual([])
    if (n > 0) expect(arrived.size, 'no repeat within').toBe(ids.length)
    fewest = Math.min(fewest, arrived.size)
  }
  // It is no replay of everything.
  expect(fewest).toBeLessThan(table.length * 0.9)
  console.info(
    `${table.length} rows, ${usable.length} stored LSNs, lag ${JSON.stringify(lag)}, at least ${fewest} replayed`,
  )
}, 600_000)

test('a table without transaction_id: by created_at, also the end of the range', async () => {
  const opened = await openStage(
    { WAL2RABBIT_SOURCE_COLUMNS: '{ transaction_id: null }' },
    `CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_type text, aggregate_id text, type text,
      payload jsonb, headers jsonb, created_at timestamptz NOT NULL DEFAULT now())`,
  )
  const { stage, live } = opened
  /** One transaction, arrived and stored. */
  const insert = async (type: string) => {
    const rows = await stage.query(
      `INSERT INTO outbox (aggregate_type, aggregate_id, type) SELECT 'order', '1', $1 FROM generate_series(1, 5) RETURNING id::text AS id`,
      [type],
    )
    const ids = rows.map(({ id }) => String(id))
    await live.untilHolds(() => live.seen.some(({ id }) => id === ids.at(-1)), 20_000, type)
    const { lsn } = live.seen.at(-1)!
    await stage.bridge.until(({ positions }) => parseLsn(positions.stored ?? '0/0') > lsn)
    return ids
  }
  /** Rows are told from others by seconds. */
  const mark = async (name: string) => {
    expect((await runCommand(['checkpoints', 'mark', name], stage.bridge.env)).code).toBe(0)
    await stage.query('SELECT pg_sleep(2.5)')
  }
  await insert('Before')
  await mark('first')
  const wanted = await insert('Wanted')
  await mark('second')
  const later = await insert('Later')
  const { ids, notes } = await replay(opened, ['--from', 'first', '--to', 'second'])
  expect(notes).toMatch(/has no transaction_id: rows are taken by created_at, from \S+Z to before \S+Z/)
  expect(wanted.filter((id) => !ids.includes(id))).toEqual([])
  expect(later.filter((id) => ids.includes(id))).toEqual([])
  const [last] = live.seen.filter(({ id }) => id === later[0])
  const open = await replay(opened, ['--from', 'second'])
  expect(
    later.filter((id) => !open.ids.includes(id)),
    formatLsn(last!.lsn),
  ).toEqual([])
}, 120_000)
