import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { inTransaction } from '../../src/base/in-transaction.ts'
import { countParked, listDeadLetters, readDeadLetters } from '../../src/dead-letter/find-dead-letters.ts'
import { aggregateKey } from '../../src/dead-letter/keys.ts'
import { releaseParked } from '../../src/dead-letter/parked-aggregates.ts'
import { endControl } from '../../src/setup/connect.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { freshDatabase } from '../support/services.ts'
import { type Bookkeeping, bookkeeping, undeliverable, waiting } from './fixture.ts'

let books: Bookkeeping
let client: pg.Client

const letters = () => listDeadLetters(client, 'shop', {}, 1000)
const summary = async () => (await letters()).map(({ eventId, reasonCode }) => `${eventId} ${reasonCode}`)
const parkedTable = async () =>
  (await client.query('SELECT aggregate_id FROM wal2rabbit.parked_aggregate ORDER BY 1')).rows.map(
    (r) => r.aggregate_id,
  )

beforeAll(async () => {
  books = await bookkeeping()
  client = books.client
})

afterAll(() => books.dispose())

beforeEach(async () => {
  await books.closeStores()
  await client.query('TRUNCATE wal2rabbit.dead_letter, wal2rabbit.parked_aggregate, wal2rabbit.dead_letter_audit')
})

test('an event is kept whole, with its position, reason and times', async () => {
  const item = undeliverable(
    { id: 'e1', payload: '{"total": 12}', headers: '{"big": 9007199254740993}' },
    { ordinal: 3 },
  )
  expect(await books.store().keep([item])).toEqual(['kept'])
  const [letter] = await readDeadLetters(client, 'shop', 'e1')
  expect(letter).toMatchObject({
    eventId: 'e1',
    aggregateType: 'order',
    aggregateId: '42',
    type: 'placed',
    commitLsn: 0x16b374d848n,
    ordinal: 3,
    committedAt: '2026-01-31T23:59:59.123456Z',
    exchange: 'outbox',
    routingKey: 'order.placed',
    bodyBytes: 13,
    reasonCode: 'EVENT_UNROUTABLE',
    reasonText: 'no queue takes it',
    attempts: 5,
    state: 'parked',
    replayId: null,
    rowColumns: expect.objectContaining({ id: 'e1', transaction_id: '741' }),
  })
  expect(letter?.body?.toString()).toBe('{"total": 12}')
  expect(letter?.message).toContain('"9007199254740993"')
  expect(await countParked(client, 'shop')).toEqual({ deadLetters: 1, aggregates: 0 })
})

test('after a crash the same events come again and are kept once, with their first and their last failure', async () => {
  const store = books.store()
  await store.keep([undeliverable({ id: 'e1' }), undeliverable({ id: 'e2' }, { ordinal: 1 })])
  const [first] = await letters()
  await store.keep([
    undeliverable({ id: 'e1' }, { code: 'EVENT_NACKED', text: 'full', attempts: 6 }),
    undeliverable({ id: 'e2' }, { ordinal: 1 }),
  ])
  const again = await letters()
  expect(again.map(({ eventId, reasonCode, attempts }) => [eventId, reasonCode, attempts])).toEqual([
    ['e1', 'EVENT_NACKED', 6],
    ['e2', 'EVENT_UNROUTABLE', 5],
  ])
  expect(again[0]?.firstFailedAt).toBe(first?.firstFailedAt)
  expect(String(again[0]?.lastFailedAt) > String(first?.lastFailedAt)).toBe(true)
})

test('another event at the same position, as after a restore, is another dead letter; so is that of another slot', async () => {
  await books.store().keep([undeliverable({ id: 'e1' })])
  await books.store().keep([undeliverable({ id: 'e2' })])
  await books.store({ slot: 'other' }).keep([undeliverable({ id: 'e1' })])
  expect(await summary()).toEqual(['e1 EVENT_UNROUTABLE', 'e2 EVENT_UNROUTABLE'])
})

test('nothing is refused for its content: huge ids, NUL and lone surrogates in headers, 60 kB keys, no id at all', async () => {
  const long = 'ü'.repeat(60_000)
  const random = randomBytes(9000).toString('base64') // what can be compressed fits an index all the same
  const items = [
    undeliverable({ id: long, aggregate_id: random, aggregate_type: `t${random}` }, { ordinal: 0 }),
    undeliverable(
      { id: 'e1', headers: String.raw`{"nul": "a\u0000b", "half": "\ud800", "__proto__": 1}` },
      { ordinal: 1 },
    ),
    undeliverable({ id: null, aggregate_id: null, type: null }, { ordinal: 2 }),
    undeliverable({ id: 'e3', headers: '{"CC": ["x"]}' }, { ordinal: 3, text: 'a \0 b' }),
    undeliverable({ id: 'e4' }, { ordinal: 4, text: 'a \0 b' }),
    undeliverable({ id: 'e5', payload: 'x'.repeat(3_000_000) }, { ordinal: 5 }),
  ]
  const store = books.store({ scope: 'aggregate' })
  expect(await store.keep(items)).toEqual(items.map(() => 'kept'))
  const kept = await letters()
  expect(kept.map(({ reasonCode }) => reasonCode)).toEqual([
    'EVENT_INVALID',
    'EVENT_UNROUTABLE',
    'EVENT_INVALID',
    'EVENT_INVALID',
    'EVENT_UNROUTABLE',
    'EVENT_TOO_LARGE',
  ])
  expect(kept[0]?.eventId).toBe(long)
  expect(kept[4]?.reasonText).toBe('a \ufffd b')
  expect(store.isParked(`t${random}`, random)).toBe(true)
  expect(store.isParked('t', random)).toBe(false)
  expect(store.isParked(null, null)).toBe(false)
})

test('a body of 100 MB is kept, once', { timeout: 120_000 }, async () => {
  const payload = 'x'.repeat(100 * 1024 * 1024)
  await books.store().keep([undeliverable({ id: 'large', payload })])
  const { rows } = await client.query(`SELECT octet_length(body) AS body, row_columns ->> 'payload' AS payload,
    row_shape::text AS shape FROM wal2rabbit.dead_letter`)
  expect(rows[0]).toMatchObject({ body: payload.length, payload: null })
  expect(rows[0].shape).toContain('{"name":"payload","type":"jsonb","from":"body"}')
})

test('what PostgreSQL refuses for its content is found among others, and kept in ASCII with the message as it was', async () => {
  await client.query(`ALTER TABLE wal2rabbit.dead_letter ADD COLUMN probe int
    GENERATED ALWAYS AS (CASE WHEN type LIKE '%é%' THEN ('x' || type)::int END) STORED`)
  try {
    const items = Array.from({ length: 40 }, (_, n) =>
      undeliverable({ id: `e${n}`, type: n === 7 || n === 31 ? 'caf\u00e9' : 'placed' }, { ordinal: n }),
    )
    expect(await books.store().keep(items)).toEqual(items.map(() => 'kept'))
    const kept = await letters()
    expect(kept.map(({ eventId }) => eventId)).toEqual(items.map((_, n) => `e${n}`))
    expect(kept.filter(({ reasonText }) => reasonText.includes('kept with its texts in ASCII'))).toMatchObject([
      { eventId: 'e7', type: String.raw`caf\u00e9` },
      { eventId: 'e31', type: String.raw`caf\u00e9` },
    ])
    const [whole] = await readDeadLetters(client, 'shop', 'e7')
    expect(JSON.parse(String(whole?.message))).toMatchObject({ type: 'caf\u00e9', routingKey: 'order.caf\u00e9' })
  } finally {
    await client.query('ALTER TABLE wal2rabbit.dead_letter DROP COLUMN probe')
  }
})

test('a database that is not in UTF-8 keeps headers that it cannot say', async () => {
  const latin = await freshDatabase('latin')
  await latin.drop()
  await client.query(`CREATE DATABASE ${latin.name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'`)
  const other = await bookkeepingOf(latin.url)
  try {
    await other.store.keep([
      undeliverable({ id: 'e1', headers: String.raw`{"price": "\u20ac 5"}` }),
      undeliverable({ id: 'e2' }, { ordinal: 1, text: 'the broker said \u20ac' }),
    ])
    const kept = await listDeadLetters(other.client, 'shop', {}, 10)
    expect(kept.map(({ eventId }) => eventId)).toEqual(['e1', 'e2'])
    expect(kept[1]?.reasonText).toContain(String.raw`the broker said \u20ac`)
  } finally {
    await other.store.close()
    await endControl(other.client)
    await latin.drop()
  }
})

async function bookkeepingOf(url: string) {
  const { connectControl } = await import('../../src/setup/connect.ts')
  const { migrate } = await import('../../src/setup/migrate.ts')
  const connect = () => connectControl({ url, applicationName: 'test', statementTimeout: 20_000 })
  const own = await connect()
  await migrate(own, await loadMigrations())
  const store = books.store({
    async connect() {
      const connection = await connect()
      return { query: (statement) => connection.query({ ...statement }), close: () => endControl(connection) }
    },
  })
  return { client: own, store }
}

test('with scope aggregate what follows is parked, also within one call, and a release lets it go', async () => {
  const store = books.store({ scope: 'aggregate' })
  await store.begin()
  const culprit = undeliverable({ id: 'a1', aggregate_id: 'A' })
  expect(
    await store.keep([
      waiting({ id: 'b1', aggregate_id: 'B' }, { ordinal: 1 }),
      culprit,
      waiting({ id: 'a2', aggregate_id: 'A' }, { ordinal: 2 }),
    ]),
  ).toEqual(['released', 'kept', 'kept'])
  expect(store.isParked('order', 'A')).toBe(true)
  expect(store.isParked('order', 'B')).toBe(false)
  expect((await letters()).map(({ eventId, reasonText }) => [eventId, reasonText])).toEqual([
    ['a1', 'no queue takes it'],
    ['a2', 'waits behind event a1'],
  ])
  // Delivered by somebody else.
  await client.query('DELETE FROM wal2rabbit.dead_letter')
  expect(await inTransaction(client, () => releaseParked(client, 'shop', undefined))).toHaveLength(1)
  expect(store.isParked('order', 'A')).toBe(true)
  expect(await store.keep([waiting({ id: 'a3', aggregate_id: 'A' }, { ordinal: 3 })])).toEqual(['released'])
  expect(store.isParked('order', 'A')).toBe(false)
  expect(await letters()).toEqual([])
})

test('with scope event nothing is parked', async () => {
  const store = books.store()
  await store.begin()
  await store.keep([undeliverable({ id: 'a1', aggregate_id: 'A' })])
  expect(store.isParked('order', 'A')).toBe(false)
  expect(await parkedTable()).toEqual([])
})

test('a culprit that comes again after a crash, now as parked, keeps its own reason', async () => {
  const store = books.store({ scope: 'aggregate' })
  await store.keep([undeliverable({ id: 'a1', aggregate_id: 'A' })])
  const next = books.store({ scope: 'aggregate' })
  await next.begin()
  expect(next.isParked('order', 'A')).toBe(true)
  expect(await next.keep([waiting({ id: 'a1', aggregate_id: 'A' })])).toEqual(['kept'])
  expect(await summary()).toEqual(['a1 EVENT_UNROUTABLE'])
})

test('a start releases what nothing is left of', async () => {
  await books
    .store({ scope: 'aggregate' })
    .keep([
      undeliverable({ id: 'a1', aggregate_id: 'A' }),
      undeliverable({ id: 'b1', aggregate_id: 'B' }, { ordinal: 1 }),
    ])
  await client.query(`DELETE FROM wal2rabbit.dead_letter WHERE event_id = 'a1'`)
  const store = books.store({ scope: 'aggregate' })
  await store.begin()
  expect([store.isParked('order', 'A'), store.isParked('order', 'B')]).toEqual([false, true])
  expect(await parkedTable()).toEqual(['B'])
})

test('the number of parked aggregates is bounded, at a start and at a further culprit, which is then not kept', async () => {
  const store = books.store({ scope: 'aggregate', aggregates_max: 2 })
  const culprit = (n: number) => undeliverable({ id: `e${n}`, aggregate_id: `${n}` }, { ordinal: n })
  await store.keep([culprit(1), culprit(2)])
  await expect(store.keep([culprit(3)])).rejects.toMatchObject({ code: 'DEAD_LETTERS_TOO_MANY', action: 'halt-retry' })
  await store.keep([undeliverable({ id: 'e4', aggregate_id: '1' }, { ordinal: 4 })])
  expect(await summary()).toEqual(['e1 EVENT_UNROUTABLE', 'e2 EVENT_UNROUTABLE', 'e4 EVENT_UNROUTABLE'])
  await expect(books.store({ scope: 'aggregate', aggregates_max: 1 }).begin()).rejects.toMatchObject({
    code: 'DEAD_LETTERS_TOO_MANY',
  })
})

test('while they cannot be stored nothing is kept and nothing remembered; afterwards the same call succeeds', async () => {
  const store = books.store({ scope: 'aggregate' })
  const items = [undeliverable({ id: 'a1', aggregate_id: 'A' })]
  await client.query(`ALTER TABLE wal2rabbit.dead_letter ADD CONSTRAINT no_room CHECK (attempts < 5)`)
  await expect(store.keep(items)).rejects.toMatchObject({ code: 'DEAD_LETTER_STORE_FAILED', action: 'halt-retry' })
  expect(store.isParked('order', 'A')).toBe(false)
  expect(await parkedTable()).toEqual([])
  await client.query('ALTER TABLE wal2rabbit.dead_letter DROP CONSTRAINT no_room')
  expect(await store.keep(items)).toEqual(['kept'])
})

test('a lost connection is tried again, and what was committed unseen is known afterwards', async () => {
  const store = books.store({ scope: 'aggregate' })
  await store.begin()
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`)
  // Another process stands for our own commit whose answer was lost.
  await books.store({ scope: 'aggregate' }).keep([undeliverable({ id: 'a1', aggregate_id: 'A' })])
  await expect(store.keep([undeliverable({ id: 'b1', aggregate_id: 'B' })])).rejects.toMatchObject({ action: 'retry' })
  expect(await store.keep([undeliverable({ id: 'b1', aggregate_id: 'B' })])).toEqual(['kept'])
  expect([store.isParked('order', 'A'), store.isParked('order', 'B')]).toEqual([true, true])
})

test('an unused connection is closed', async () => {
  const store = books.store({ idle: 1 })
  await store.keep([undeliverable({ id: 'a1' })])
  await expect
    .poll(async () => {
      const { rows } = await client.query(`SELECT count(*)::int AS count FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'test'`)
      return rows[0].count
    })
    .toBe(0)
})

test('raced 100 times with a release, a culprit always leaves its aggregate parked', async () => {
  const store = books.store({ scope: 'aggregate' })
  const releaser = await books.connect()
  try {
    for (let round = 0; round < 100; round++) {
      const aggregate_id = `c${round}`
      await store.keep([undeliverable({ id: `${round}-1`, aggregate_id }, { ordinal: 0 })])
      const key = String(aggregateKey('order', aggregate_id))
      await Promise.all([
        trips(client, round % 5).then(() =>
          store.keep([undeliverable({ id: `${round}-2`, aggregate_id }, { ordinal: 1 })]),
        ),
        trips(releaser, Math.floor(round / 5) % 5).then(() => deliverAndRelease(releaser, `${round}-1`, key)),
      ])
      const { rows } = await client.query('SELECT FROM wal2rabbit.parked_aggregate WHERE aggregate_key = $1', [key])
      expect(rows, `round ${round}`).toHaveLength(1)
    }
  } finally {
    await endControl(releaser)
  }
})

test('raced 200 times, an event is parked behind its aggregate or released, and never left behind alone', async () => {
  const store = books.store({ scope: 'aggregate' })
  const releaser = await books.connect()
  const verdicts = { kept: 0, released: 0 }
  try {
    for (let round = 0; round < 200; round++) {
      const aggregate_id = `r${round}`
      await store.keep([undeliverable({ id: `${round}-1`, aggregate_id }, { ordinal: 0 })])
      const key = aggregateKey('order', aggregate_id)
      const [[verdict], released] = await Promise.all([
        trips(client, round % 5).then(() => store.keep([waiting({ id: `${round}-2`, aggregate_id }, { ordinal: 1 })])),
        trips(releaser, Math.floor(round / 5) % 5).then(() => deliverAndRelease(releaser, `${round}-1`, String(key))),
      ])
      if (verdict === undefined) throw new Error('no verdict')
      verdicts[verdict]++
      const { rows } = await client.query(
        `SELECT (SELECT count(*)::int FROM wal2rabbit.dead_letter WHERE aggregate_key = $1) AS letters,
          (SELECT count(*)::int FROM wal2rabbit.parked_aggregate WHERE aggregate_key = $1) AS parked`,
        [key],
      )
      // Kept: the aggregate is still parked, whatever the other saw. Released: nothing is left of either.
      expect(rows[0], `round ${round}: ${verdict}, released ${released}`).toEqual(
        verdict === 'kept' ? { letters: 1, parked: 1 } : { letters: 0, parked: 0 },
      )
      expect(store.isParked('order', aggregate_id)).toBe(verdict === 'kept')
    }
  } finally {
    await endControl(releaser)
  }
  // Both ways must have been taken, or nothing was raced.
  expect(Math.min(verdicts.kept, verdicts.released), JSON.stringify(verdicts)).toBeGreaterThan(0)
})

/** To the server and back, so that a race starts at another moment each time. */
async function trips(own: pg.Client, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await own.query('SELECT 1')
}

/** What a command does with the last dead letter of an aggregate. */
async function deliverAndRelease(own: pg.Client, eventId: string, key: string): Promise<boolean> {
  await own.query('DELETE FROM wal2rabbit.dead_letter WHERE event_id = $1', [eventId])
  return (await inTransaction(own, () => releaseParked(own, 'shop', [key]))).length === 1
}
