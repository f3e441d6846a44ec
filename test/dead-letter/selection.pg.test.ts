import { afterAll, beforeAll, expect, test } from 'vitest'
import { countDeadLetters, listDeadLetters, missingEvents } from '../../src/dead-letter/find-dead-letters.ts'
import { type Selection, selectsAll } from '../../src/dead-letter/selection.ts'
import { type Bookkeeping, bookkeeping, undeliverable } from './fixture.ts'

let books: Bookkeeping

beforeAll(async () => {
  books = await bookkeeping()
  await books
    .store()
    .keep([
      undeliverable({ id: 'e0', aggregate_type: 'order', aggregate_id: '1', type: 'OrderPlaced' }, { ordinal: 0 }),
      undeliverable({ id: 'e1', aggregate_type: 'order', aggregate_id: '12', type: 'order_%paid' }, { ordinal: 1 }),
      undeliverable({ id: 'e2', aggregate_type: 'a/b', aggregate_id: 'c', type: 'back\\slash' }, { ordinal: 2 }),
      undeliverable(
        { id: 'e3', aggregate_type: 'a', aggregate_id: 'b/c', type: 'x' },
        { ordinal: 3, code: 'EVENT_NACKED' },
      ),
    ])
  await books.store({ slot: 'other' }).keep([undeliverable({ id: 'e9' })])
  await books.client.query(`UPDATE wal2rabbit.dead_letter SET first_failed_at = ('2026-01-0' || ordinal + 1)::timestamptz,
    replay_id = CASE ordinal WHEN 1 THEN 'r1' END WHERE slot = 'shop'`)
})

afterAll(() => books.dispose())

test.each<[Selection, string]>([
  [{}, 'e0 e1 e2 e3'],
  [{ eventIds: ['e3', 'e0', 'none'] }, 'e0 e3'],
  [{ type: 'Order*' }, 'e0'],
  [{ type: 'order_%*' }, 'e1'],
  [{ type: 'order?%paid' }, 'e1'],
  [{ type: 'order__paid' }, ''],
  [{ type: 'back\\*' }, 'e2'],
  [{ aggregateType: 'order', aggregateId: '1*' }, 'e0 e1'],
  [{ aggregateId: '?' }, 'e0 e2'],
  [{ aggregate: 'order' }, 'e0 e1'],
  [{ aggregate: 'order/12' }, 'e1'],
  [{ aggregate: 'a/b/c' }, 'e2 e3'],
  [{ reason: 'EVENT_NACKED' }, 'e3'],
  [{ since: '2026-01-02T00:00Z', until: '2026-01-04T00:00Z' }, 'e1 e2'],
  [{ replayId: 'r1' }, 'e1'],
  [{ type: '*', reason: 'EVENT_UNROUTABLE', until: '2026-01-02T12:00Z' }, 'e0 e1'],
])('%j selects %s', async (selection, ids) => {
  const { client } = books
  const found = await listDeadLetters(client, 'shop', selection, 100)
  expect(found.map(({ eventId }) => eventId).join(' ')).toBe(ids)
  expect(await countDeadLetters(client, 'shop', selection)).toBe(found.length)
  expect(selectsAll(selection)).toBe(found.length === 4)
})

test('a limit keeps the newest, newest last', async () => {
  const found = await listDeadLetters(books.client, 'shop', {}, 2)
  expect(found.map(({ eventId }) => eventId)).toEqual(['e2', 'e3'])
})

test('event ids that are not there are named', async () => {
  expect(await missingEvents(books.client, 'shop', ['e1', 'e9', 'none'])).toEqual(['e9', 'none'])
})
