import { expect, test } from 'vitest'
import { replayableFrom, tableReach } from '../../src/replay/replayable.ts'

const server = {
  systemIdentifier: '7000',
  timeline: 3,
  timelineHistory: [
    { timeline: 1, switchLsn: 1000n },
    { timeline: 2, switchLsn: 2000n },
  ],
}
const here = { systemIdentifier: '7000', timeline: 3 }

test.each([
  ['both reach back', 5000n, { wal: 5000n, table: 4000n }, ['wal', 'table']],
  ['below the WAL window', 4999n, { wal: 5000n, table: 4000n }, ['table']],
  ['below the oldest row', 4999n, { wal: 3000n, table: 5000n }, ['wal']],
  ['below both', 3999n, { wal: 5000n, table: 4000n }, []],
  ['no slot, no table', 5000n, { wal: undefined, table: undefined }, []],
  ['no slot', 5000n, { wal: undefined, table: 0n }, ['table']],
])('%s', (_, lsn, reach, expected) => {
  expect(replayableFrom({ ...here, lsn }, reach, server, 9999n)).toEqual(expected)
})

test.each([
  ['of another cluster', { systemIdentifier: '7001', timeline: 3, lsn: 9000n }, false],
  ['of a timeline that is none of ours', { systemIdentifier: '7000', timeline: 4, lsn: 9000n }, false],
  ['of an ancestor, below its switch', { systemIdentifier: '7000', timeline: 2, lsn: 1999n }, true],
  ['of an ancestor, at its switch', { systemIdentifier: '7000', timeline: 2, lsn: 2000n }, true],
  ['of an ancestor, above its switch', { systemIdentifier: '7000', timeline: 2, lsn: 2001n }, false],
  ['of an older ancestor, above its own switch', { systemIdentifier: '7000', timeline: 1, lsn: 1500n }, false],
])('an entry %s', (_, entry, counts) => {
  expect(replayableFrom(entry, { wal: 0n, table: 0n }, server, 9999n)).toEqual(counts ? ['wal', 'table'] : [])
})

test('an entry above the stored LSN, as a rewind leaves behind, until the stream has passed it again', () => {
  const entry = { ...here, lsn: 5001n }
  expect(replayableFrom(entry, { wal: 0n, table: 0n }, server, 5000n)).toEqual([])
  expect(replayableFrom(entry, { wal: 0n, table: 0n }, server, 5001n)).toEqual(['wal', 'table'])
})

test.each([
  [undefined, undefined, undefined],
  [undefined, 10n, undefined],
  [20n, undefined, 20n],
  [20n, 10n, 20n],
  [20n, 30n, 30n],
])('a table with the oldest snapshot at %s and deleted up to %s reaches back to %s', (oldest, floor, expected) => {
  expect(tableReach(oldest, floor)).toBe(expected)
})
