import { expect, onTestFinished, test } from 'vitest'
import { bookkeeping, undeliverable } from './fixture.ts'

// A bridge that was stopped holds events that the one which took over has delivered: parking them would stop its stream.
test('a bridge that another one has replaced keeps nothing any more', async () => {
  const books = await bookkeeping()
  onTestFinished(() => books.dispose())
  const { client } = books
  await client.query(
    `INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline, epoch) VALUES ('shop', '0/1', '1', 1, 7)`,
  )
  const store = books.store({ scope: 'aggregate', ownerEpoch: () => 7n })
  expect(await store.keep([undeliverable({ id: 'mine' })])).toEqual(['kept'])
  await client.query('UPDATE wal2rabbit.checkpoint SET epoch = 8')
  await expect(store.keep([undeliverable({ id: 'stale' }, { ordinal: 1 })])).rejects.toMatchObject({
    code: 'CHECKPOINT_FENCED',
  })
  expect((await client.query('SELECT event_id FROM wal2rabbit.dead_letter')).rows).toEqual([{ event_id: 'mine' }])
})

test('a claim that comes while it keeps is seen at its commit', async () => {
  const books = await bookkeeping()
  onTestFinished(() => books.dispose())
  const { client } = books
  await client.query(
    `INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline, epoch) VALUES ('shop', '0/1', '1', 1, 7)`,
  )
  const rival = await books.connect()
  await rival.query('BEGIN; UPDATE wal2rabbit.checkpoint SET epoch = 8')
  const keeping = books.store({ ownerEpoch: () => 7n }).keep([undeliverable({ id: 'stale' })])
  await expect
    .poll(
      async () =>
        (await client.query("SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).rows[0]
          .n,
    )
    .toBe(1)
  await rival.query('COMMIT')
  await expect(keeping).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  expect((await client.query('SELECT FROM wal2rabbit.dead_letter')).rowCount).toBe(0)
})

test('with scope event nothing more is parked, but what is parked already keeps its order', async () => {
  const books = await bookkeeping()
  onTestFinished(() => books.dispose())
  const before = books.store({ scope: 'aggregate' })
  await before.keep([undeliverable({ id: 'culprit', aggregate_id: 'a' })])
  const store = books.store({ scope: 'event' })
  await store.begin()
  expect([store.isParked('order', 'a'), store.isParked('order', 'b')]).toEqual([true, false])
  await store.keep([undeliverable({ id: 'other', aggregate_id: 'b' }, { ordinal: 1 })])
  expect(store.isParked('order', 'b')).toBe(false)
})
