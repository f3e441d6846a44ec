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
