import { expect, onTestFinished, test } from 'vitest'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

const insert = `INSERT INTO outbox (aggregate_type, aggregate_id, type) SELECT $1, n::text, 'Moved' FROM generate_series(1, 20) n`

test('a dead letter that cannot be stored holds back the stored LSN, halts, and is stored once it can be', async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const env = { WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '1' }
  const stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url, env })
  onTestFinished(() => stage.dispose())
  await stage.withChannel(async (channel) => {
    await channel.unbindQueue(stage.name, stage.name, '#')
    await channel.bindQueue(stage.name, stage.name, 'order.#')
  })
  await stage.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$`)
  await stage.query('CREATE TRIGGER refuse BEFORE INSERT ON wal2rabbit.dead_letter EXECUTE FUNCTION refuse()')
  const collector = await stage.collector()
  stage.bridge.start()
  await stage.bridge.until(({ state }) => state === 'streaming')
  const before = await stage.positions()

  await stage.query(insert, ['lost'])
  await stage.query(insert, ['order'])
  await stage.bridge.until(({ state, reason }) => state === 'halted' && reason?.code === 'DEAD_LETTER_STORE_FAILED')
  // What is younger flows on, but no position passes what is neither delivered nor kept.
  await collector.until(() => collector.ids.size === 20, 10_000, 'the events behind it')
  expect(await stage.positions()).toEqual(before)

  await stage.query('DROP TRIGGER refuse ON wal2rabbit.dead_letter')
  await stage.bridge.until(({ state, counters }) => state === 'streaming' && counters.deadLettered === 20, 40_000)
  expect(await stage.query('SELECT count(*)::int AS kept FROM wal2rabbit.dead_letter')).toEqual([{ kept: 20 }])
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  const { stored, confirmedFlush } = await stage.positions()
  expect([confirmedFlush === stored, stored === before.stored]).toEqual([true, false])
})
