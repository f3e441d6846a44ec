import { expect, test } from 'vitest'
import { decideStore, type StoreFacts } from '../../src/checkpoint/store-policy.ts'
import type { StartPosition } from '../../src/source/source.ts'

const end = (lsn: bigint): StartPosition => ({ lsn, partial: null })

function facts(changes: Partial<StoreFacts>): StoreFacts {
  return {
    now: 10_000,
    lastStoreAt: 10_000,
    interval: 200,
    settled: end(1_000_000n),
    stored: end(1_000_000n),
    rowsSettled: 0,
    walEndAfterStore: 1_000_000n,
    ...changes,
  }
}

const table: [string, Partial<StoreFacts>, ReturnType<typeof decideStore>][] = [
  ['nothing new is never stored', { now: 99_999_999 }, { store: false, at: 'never' }],
  [
    'what lies below the stored LSN is never stored',
    { settled: end(999_999n), rowsSettled: 1, now: 99_999 },
    { store: false, at: 'never' },
  ],
  [
    'settled rows wait for the interval',
    { settled: end(1_000_100n), rowsSettled: 1, now: 10_199 },
    { store: false, at: 10_200 },
  ],
  [
    'settled rows are stored after the interval',
    { settled: end(1_000_100n), rowsSettled: 1, now: 10_200 },
    { store: true },
  ],
  [
    'rows settled inside a transaction are stored as well',
    { settled: { lsn: 1_000_000n, partial: { commitLsn: 1_000_050n, rows: 7 } }, rowsSettled: 7, now: 10_200 },
    { store: true },
  ],
  [
    'a commit after rows that were all stored already is stored',
    { settled: end(1_000_150n), stored: { lsn: 1_000_000n, partial: { commitLsn: 1_000_050n, rows: 7 } }, now: 99_999 },
    { store: true },
  ],
  ['large progress waits for a second', { settled: end(1_065_537n), now: 10_999 }, { store: false, at: 11_000 }],
  ['large progress is stored after a second', { settled: end(1_065_537n), now: 11_000 }, { store: true }],
  ['64 KiB are small progress', { settled: end(1_065_536n), now: 11_000 }, { store: false, at: 15_000 }],
  ['small progress is stored after five seconds', { settled: end(1_000_513n), now: 15_000 }, { store: true }],
  ['512 bytes are no progress', { settled: end(1_000_512n), now: 99_999_999 }, { store: false, at: 'never' }],
  [
    'what our own store wrote is no progress',
    { settled: end(1_009_000n), walEndAfterStore: 1_008_900n, now: 99_999_999 },
    { store: false, at: 'never' },
  ],
  [
    'while a backlog below our own WAL end is decoded, the slot still advances',
    { settled: end(2_100_000n), walEndAfterStore: 99_000_000n, now: 11_000 },
    { store: true },
  ],
  [
    'a position at the start of a segment waits until more is written',
    { settled: end(16_777_216n + 330n), now: 99_999_999 },
    { store: false, at: 'never' },
  ],
  [
    'a position at the start of a segment waits no longer once many segments have passed',
    { settled: end(96n * 1_048_576n), now: 11_000 },
    { store: true },
  ],
  [
    'a longer interval holds for progress as well',
    { settled: end(1_065_537n), interval: 60_000, now: 69_999 },
    { store: false, at: 70_000 },
  ],
]

test.each(table)('%s', (_name, changes, expected) => {
  expect(decideStore(facts(changes))).toEqual(expected)
})

/**
 * Counts our stores in an hour on a server where each store writes `record` bytes up to the WAL end that it reports, 280
 * more after it, and is followed by a segment switch when `archiveTimeout` is on.
 */
function storesInOneHour(foreign: (second: number) => bigint, { record = 300n, archiveTimeout = false } = {}): number {
  let walEnd = 1_000_000n
  let written = false
  let state = facts({ now: 0, lastStoreAt: 0, stored: end(walEnd), walEndAfterStore: walEnd })
  let stores = 0
  for (let now = 0; now < 3_600_000; now += 200) {
    if (now % 1000 === 0) {
      const bytes = foreign(now / 1000)
      walEnd += bytes
      written ||= bytes > 0n
    }
    if (archiveTimeout && written && now % 60_000 === 0) {
      walEnd = (walEnd / 16_777_216n + 1n) * 16_777_216n + 40n
      written = false
    }
    state = { ...state, now, settled: end(walEnd) }
    if (!decideStore(state).store) continue
    stores++
    const stored = state.settled
    walEnd += record
    state = { ...state, stored, lastStoreAt: now, walEndAfterStore: walEnd }
    walEnd += 280n
    written = true
  }
  return stores
}

test('on an idle server a store is never the reason for the next one', () => {
  expect(storesInOneHour(() => 0n)).toBe(0)
  expect(storesInOneHour((second) => (second === 5 ? 600n : 0n))).toBe(1)
  expect(storesInOneHour((second) => (second === 5 ? 100_000n : 0n), { record: 8500n })).toBe(1)
})

test('with archive_timeout on an idle server stays idle as well', () => {
  expect(storesInOneHour((second) => (second === 5 ? 600n : 0n), { archiveTimeout: true })).toBe(1)
})

test('on a busy server the slot advances every second', () => {
  expect(storesInOneHour(() => 1_000_001n)).toBeGreaterThan(3500)
})
