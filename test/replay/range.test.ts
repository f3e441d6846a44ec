import { describe, expect, test } from 'vitest'
import { isEmptyRange, isPast, isSettled, judgeRow, type ReplayRange, startOf } from '../../src/replay/range.ts'
import type { SourceRow } from '../../src/source/source.ts'

function rowAt(commitLsn: bigint, ordinal: number, committedAt = '2026-01-01T00:00:00.000000Z'): SourceRow {
  return {
    kind: 'row',
    transaction: { commitLsn, commitLsnText: '', committedAt, committedAtSeconds: 0 },
    ordinal,
    relation: { schema: 's', table: 't', columns: [] },
    tuple: { text: () => null, bytes: () => null, byteLength: () => 0, size: 0 },
  }
}

const plain: ReplayRange = { from: { lsn: 100n, rows: 0 }, to: { lsn: 200n, rows: 0 } }

test.each([
  [99n, 0, 'skip'],
  [100n, 0, 'take'],
  [199n, 5, 'take'],
  // The next commit record can begin where the last one of the range ends.
  [200n, 0, 'end'],
  [201n, 0, 'end'],
] as const)('from 100 to 200, a row of transaction %s is: %s %s', (lsn, ordinal, verdict) => {
  expect(judgeRow(plain, rowAt(lsn, ordinal))).toBe(verdict)
})

describe('from row 2 of transaction 100 up to row 3 of transaction 200', () => {
  const range: ReplayRange = { from: { lsn: 100n, rows: 2 }, to: { lsn: 200n, rows: 4 } }

  test.each([
    [100n, 1, 'skip'],
    [100n, 2, 'take'],
    [200n, 3, 'take'],
    [200n, 4, 'end'],
    [201n, 0, 'end'],
  ] as const)('row %s#%s: %s', (lsn, ordinal, verdict) => {
    expect(judgeRow(range, rowAt(lsn, ordinal))).toBe(verdict)
  })

  test('a mark at 200 is not the end, one above is', () => {
    expect(isPast(range, { kind: 'idle', walEnd: 200n })).toBe(false)
    expect(isPast(range, { kind: 'commit', commitLsn: 190n, endLsn: 200n })).toBe(false)
    expect(isPast(range, { kind: 'commit', commitLsn: 200n, endLsn: 230n })).toBe(true)
  })

  test('the stream starts inside of transaction 100', () => {
    expect(startOf(range)).toEqual({ lsn: 100n, partial: { commitLsn: 100n, rows: 2 } })
    expect(startOf(plain)).toEqual({ lsn: 100n, partial: null })
  })
})

test('a range by time leaves out what committed before and after, and never ends by time', () => {
  const range = {
    ...plain,
    committedFrom: '2026-01-02T00:00:00.000000Z',
    committedBefore: '2026-01-03T00:00:00.000000Z',
  }
  const verdict = (time: string) => judgeRow(range, rowAt(150n, 0, time))
  expect(verdict('2026-01-01T23:59:59.999999Z')).toBe('skip')
  expect(verdict('2026-01-02T00:00:00.000000Z')).toBe('take')
  expect(verdict('2026-01-02T23:59:59.999999Z')).toBe('take')
  expect(verdict('2026-01-03T00:00:00.000000Z')).toBe('skip')
})

test('a mark at the end of the range is the end of it', () => {
  expect(isPast(plain, { kind: 'idle', walEnd: 199n })).toBe(false)
  expect(isPast(plain, { kind: 'idle', walEnd: 200n })).toBe(true)
})

test.each([
  [{ from: { lsn: 1n, rows: 0 }, to: { lsn: 1n, rows: 0 } }, true],
  [{ from: { lsn: 1n, rows: 2 }, to: { lsn: 1n, rows: 2 } }, true],
  [{ from: { lsn: 1n, rows: 2 }, to: { lsn: 1n, rows: 3 } }, false],
  [{ from: { lsn: 2n, rows: 0 }, to: { lsn: 1n, rows: 9 } }, true],
  [{ from: { lsn: 1n, rows: 9 }, to: { lsn: 2n, rows: 0 } }, false],
])('%o is empty: %s', (range, empty) => {
  expect(isEmptyRange(range)).toBe(empty)
})

test.each([
  [{ lsn: 100n, partial: null }, 0, false],
  [{ lsn: 100n, partial: { commitLsn: 190n, rows: 9 } }, 0, false],
  [{ lsn: 200n, partial: null }, 0, true],
  [{ lsn: 200n, partial: null }, 3, false],
  [{ lsn: 190n, partial: { commitLsn: 200n, rows: 2 } }, 3, false],
  [{ lsn: 190n, partial: { commitLsn: 200n, rows: 3 } }, 3, true],
  [{ lsn: 230n, partial: null }, 3, true],
])('settled up to %o, nothing is left of a range to 200 and %i rows: %s', (settled, rows, over) => {
  expect(isSettled({ from: { lsn: 100n, rows: 0 }, to: { lsn: 200n, rows } }, settled)).toBe(over)
})
