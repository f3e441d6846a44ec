import { expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { ensureWal2json, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

const batch = 20

// Rows from before a rename come with the old name for as long as the stream brings them: no single name reads past it.
test.for(['pgoutput', 'wal2json'] as const)(
  'a renamed mapped column halts, and with both names every row arrives once and in order (%s)',
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
      env: { WAL2RABBIT_SOURCE_PLUGIN: plugin, WAL2RABBIT_CHECKPOINT_INTERVAL: '50ms' },
    })
    onTestFinished(() => stage.dispose())
    const collector = await stage.collector()
    let written = 0
    const write = async (column: string) => {
      await stage.query(
        `INSERT INTO outbox (aggregate_type, aggregate_id, type, ${column})
         SELECT 'a', '1', 'P', to_jsonb(n) FROM generate_series($1::int, $2::int) n`,
        [written, written + batch - 1],
      )
      written += batch
    }
    const walEnd = async () =>
      parseLsn(String((await stage.query('SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]!.lsn))
    const halted = async () => {
      const status = await stage.bridge.until(({ state }) => state === 'halted', 10_000, 'the halt')
      expect(status.reason?.code).toBe('COLUMN_MISSING')
      return status.reason!.message
    }
    const storedBelow = async (lsn: bigint) => {
      const { stored, confirmedFlush } = await stage.positions()
      expect(parseLsn(stored) <= lsn && parseLsn(confirmedFlush) <= lsn, `${stored}, ${confirmedFlush}`).toBe(true)
    }

    stage.bridge.start()
    await write('payload')
    const first = await walEnd()
    await expect.poll(async () => parseLsn((await stage.positions()).stored) >= first, { timeout: 10_000 }).toBe(true)

    await stage.query('ALTER TABLE outbox RENAME payload TO body')
    const renamed = await walEnd()
    await write('body')
    await halted()
    await storedBelow(renamed)
    expect(await stage.bridge.end('SIGTERM')).not.toBeNull()

    // The table is as it was, the rows of meanwhile are not.
    await stage.query('ALTER TABLE outbox RENAME body TO payload')
    await write('payload')
    stage.bridge.start()
    expect(await halted()).toMatch(/^a row of table public\.outbox, committed at [0-9A-F]+\/[0-9A-F]+, has no column/)
    await storedBelow(renamed)
    expect(collector.deliveries.length).toBe(batch)
    await stage.bridge.end('SIGTERM')

    await stage.query('ALTER TABLE outbox RENAME payload TO body')
    stage.bridge.env.WAL2RABBIT_SOURCE_COLUMNS = '{ payload: [body, payload] }'
    stage.bridge.start()
    await write('body')
    await collector.until(() => collector.ids.size === written, 10_000, 'every row')
    await stage.bridge.until(({ state, window }) => state === 'streaming' && window.messages === 0)
    expect(collector.deliveries.map(({ body }) => Number(body))).toEqual([...Array(written).keys()])
    expect(await stage.bridge.end('SIGTERM')).toBe(0)
  },
)
