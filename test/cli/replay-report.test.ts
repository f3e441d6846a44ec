import { expect, test } from 'vitest'
import { countOf, describeRange, fractionOf, progressText } from '../../src/cli/replay-report.ts'
import type { ReplayPlan, ReplayProgress } from '../../src/replay/replay-record.ts'

const plan: ReplayPlan = {
  source: 'wal',
  range: { from: { lsn: 0x1000n, rows: 0 }, to: { lsn: 0x2000n, rows: 0 } },
  fromSnapshot: undefined,
  toSnapshot: undefined,
  systemIdentifier: '1',
  timeline: 1,
}
const progress = (wanted: Partial<ReplayProgress> = {}): ReplayProgress => ({
  settled: { lsn: 0x1000n, partial: null },
  tableKey: undefined,
  read: 0,
  matched: 0,
  published: 0,
  dead: 0,
  dropped: 0,
  ...wanted,
})

test('a replay is as far as the rows that it has read, which never makes it done before its end', () => {
  expect(fractionOf(plan, progress({ read: 250 }), 1000)).toBe(0.25)
  expect(fractionOf(plan, progress({ read: 1100 }), 1000)).toBe(0.99)
})

test('where no count is known the WAL is measured by LSN, and how far the table is cannot be told', () => {
  expect(fractionOf(plan, progress({ settled: { lsn: 0x1400n, partial: null } }), undefined)).toBe(0.25)
  expect(fractionOf(plan, progress({ settled: { lsn: 0x0n, partial: null } }), undefined)).toBe(0)
  expect(fractionOf({ ...plan, source: 'table' }, progress({ read: 7 }), undefined)).toBeUndefined()
})

test('progress says count, rate, share and time left; rates are of this run alone', () => {
  const began = progress({ published: 1000 })
  const now = progress({ published: 3000, dead: 1, settled: { lsn: 0x1800n, partial: null } })
  expect(progressText(0.5, now, 10, began)).toBe('3,001 events, 200/s, 50 %, 10 s left, 1 dead letter, at 0/1800')
  expect(progressText(0, progress(), 0, progress())).toBe('0 events, 0/s, 0 %, at 0/1000')
})

test('how far it is and how long it takes are left out where that is not known', () => {
  const nowhere = { settled: { lsn: 0n, partial: null } }
  const now = progress({ published: 3000, dead: 1, ...nowhere })
  expect(progressText(undefined, now, 10, progress(nowhere))).toBe('3,001 events, 300/s, 1 dead letter')
})

test('a range is told by its LSNs and by what narrows it', () => {
  expect(describeRange(plan)).toBe('LSN 0/1000 to 0/2000')
  const from = { lsn: 0x1000n, rows: 3 }
  const committedFrom = '2026-01-31T09:00:00.000000Z'
  const narrowed = {
    ...plan,
    range: { ...plan.range, from, committedFrom, committedBefore: '2026-01-31T12:00:00.000000Z' },
  }
  expect(describeRange(narrowed)).toBe(
    'LSN 0/1000#3 to 0/2000, committed at 2026-01-31T09:00:00.000000Z or later and before 2026-01-31T12:00:00.000000Z',
  )
  expect(describeRange({ ...narrowed, source: 'table', range: { ...plan.range, committedFrom } })).toBe(
    'LSN 0/1000 to 0/2000, created at 2026-01-31T09:00:00.000000Z or later',
  )
})

test('one is singular', () => {
  expect([countOf(1, 'event'), countOf(12345, 'event'), countOf(0, 'row')]).toEqual([
    '1 event',
    '12,345 events',
    '0 rows',
  ])
})
