import { expect, onTestFinished, test } from 'vitest'
import { ensureWal2json, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

const payloads = [
  'NULL',
  `'{}'`,
  `'{"big": 9007199254740993, "huge": 123456789012345678901234567890, "exact": 1.10}'`,
  `'{"escapes": "quote \\" backslash \\\\ newline \\n tab \\t nul-ish \\u0001 slash /"}'`,
  `'{"four bytes": "😀 𝄞", "bmp": "€ \\u2028", "key é": null}'`,
  `'"just a string"'`,
  `'[1, [2, {"a": []}]]'`,
  `(SELECT jsonb_build_object('mb', string_agg(md5(n::text), '')) FROM generate_series(1, 32768) n)`,
]

test.for(['pgoutput', 'wal2json'] as const)(
  'payloads arrive byte for byte as PostgreSQL prints them (%s)',
  async (plugin, context) => {
    const database = await freshDatabase()
    onTestFinished(() => database.drop())
    if (plugin === 'wal2json') {
      const { available, reason } = await ensureWal2json()
      context.skip(!available, reason)
    }
    const stage = await Stage.create({
      databaseUrl: database.url,
      amqpUrl: sharedRabbit().url,
      env: { WAL2RABBIT_SOURCE_PLUGIN: plugin },
    })
    onTestFinished(() => stage.dispose())
    const collector = await stage.collector()
    stage.bridge.start()
    for (const payload of payloads) {
      await stage.query(
        `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload) VALUES ('a', '1', 'P', ${payload})`,
      )
    }
    const rows = await stage.query('SELECT id::text, payload::text, created_at FROM outbox ORDER BY transaction_id')
    await collector.until(() => collector.ids.size === rows.length, 20_000, 'every payload')
    expect(collector.deliveries.map(({ id }) => id)).toEqual(rows.map(({ id }) => id))
    for (const [n, { body, message }] of collector.deliveries.entries()) {
      expect(body, `payload ${n}`).toBe(rows[n]!.payload ?? '')
      expect(message.properties.contentType).toBe('application/json')
      expect(message.properties.timestamp).toBe(Math.floor((rows[n]!.created_at as Date).getTime() / 1000))
    }
  },
)

test.each([
  ['json', `'{"b" : 1,   "a": 1.0 }'`, 'application/json'],
  ['text', `E'plain \\\\ text\\n€'`, 'text/plain; charset=utf-8'],
  ['bytea', `'\\x00ff10'`, 'application/octet-stream'],
] as const)('a %s payload in a mapped table keeps its bytes and its content type', async (type, value, contentType) => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const setup = `CREATE TABLE "Events Out" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text, aggregateid text, type text, payload ${type})`
  const pg = await import('pg')
  const client = new pg.default.Client({ connectionString: database.url })
  await client.connect()
  await client.query(setup)
  await client.end()
  const stage = await Stage.create({
    databaseUrl: database.url,
    amqpUrl: sharedRabbit().url,
    env: { WAL2RABBIT_SOURCE_TABLE: 'public."Events Out"', WAL2RABBIT_SOURCE_COLUMNS: 'debezium' },
  })
  onTestFinished(() => stage.dispose())
  const collector = await stage.collector()
  stage.bridge.start()
  await stage.query(
    `INSERT INTO "Events Out" (aggregatetype, aggregateid, type, payload) VALUES ('a', '1', 'P', ${value})`,
  )
  const bytes = type === 'bytea' ? 'payload' : `convert_to(payload::text, 'UTF8')`
  const [row] = await stage.query(`SELECT ${bytes} AS bytes FROM "Events Out"`)
  await collector.until(() => collector.deliveries.length === 1, 20_000, 'the event')
  const { message } = collector.deliveries[0]!
  expect(message.content.equals(row!.bytes as Buffer)).toBe(true)
  expect(message.properties.contentType).toBe(contentType)
})
