import { describe, expect, test } from 'vitest'
import { baseSlotFor, type ReplaySlot, walFloor } from '../../src/replay/reach.ts'
import { chooseSource, type SourceQuestion } from '../../src/setup/choose-source.ts'

const slot = (name: string, confirmedFlushLsn: bigint | undefined, invalidation?: string): ReplaySlot => ({
  name,
  confirmedFlushLsn,
  invalidation,
})
const slots = [slot('old', 100n), slot('lost', 150n, 'wal_removed'), slot('young', 200n), slot('new', undefined)]

test.each([
  [99n, undefined],
  [100n, 'old'],
  [199n, 'old'],
  [200n, 'young'],
  [999n, 'young'],
])('the youngest usable slot at or below %s is %s', (lsn, name) => {
  expect(baseSlotFor(slots, lsn)?.name).toBe(name)
})

test('the WAL reaches back to the oldest usable slot', () => {
  expect(walFloor(slots)).toBe(100n)
  expect(walFloor([slot('lost', 1n, 'wal_removed')])).toBeUndefined()
})

describe('the source', () => {
  const table = { impossible: undefined, by: 'transaction', reaches: true, floor: 10n } as const
  const question: SourceQuestion = {
    ...{ asked: 'auto', start: 'event:x', from: 50n, walReaches: true, walFloor: 40n, walSince: undefined, table },
  }

  test.each([
    [{}, 'wal'],
    [{ walReaches: false }, 'table'],
    [{ asked: 'table' }, 'table'],
    [{ asked: 'wal' }, 'wal'],
  ] as const)('%o: %s', (changes, source) => {
    expect(chooseSource({ ...question, ...changes })).toBe(source)
  })

  test.each([
    [{ walReaches: false, table: { ...table, reaches: false } }, /0\/28.*0\/A/],
    [{ walReaches: false, asked: 'wal' }, /0\/28/],
    [{ asked: 'table', table: { ...table, reaches: false } }, /0\/A/],
    [{ walReaches: false, table: { ...table, impossible: 'table "t" does not exist' } }, /does not exist/],
    [
      { walReaches: false, walFloor: undefined, table: { ...table, reaches: false, floor: undefined } },
      /no slot.*no snapshot/,
    ],
  ] as const)('none for %o, which is said with what can be had', (changes, text) => {
    const refused = chooseSource({ ...question, ...changes })
    expect(refused).toMatchObject({ code: 'REPLAY_OUT_OF_REACH', message: expect.stringMatching(text) })
    expect(String(refused)).toContain('event:x')
  })
})
