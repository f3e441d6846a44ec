import { expect, test } from 'vitest'
import type { Anchor } from '../../src/replay/anchor.ts'
import { describeWindow } from '../../src/replay/replay-window.ts'

const now = new Date('2026-01-31T12:00:00Z')
const walEnd = 1000n
const live = { confirmedFlushLsn: 990n, restartLsn: 900n, invalidation: undefined, active: true }

function anchor(hour: string, lsn: bigint, changes: Partial<Anchor> = {}): Anchor {
  return {
    name: `shop_anchor_20260131${hour}0000`,
    madeAt: new Date(`2026-01-31T${hour}:00:00Z`),
    confirmedFlushLsn: lsn,
    restartLsn: lsn - 50n,
    invalidation: undefined,
    active: false,
    ...changes,
  }
}

test('the window reaches back to the oldest anchor, in WAL and in time', () => {
  const window = describeWindow({ now, walEnd, live, anchors: [anchor('09', 400n), anchor('11', 700n)] })
  expect(window).toEqual({
    anchors: [
      { name: 'shop_anchor_20260131090000', lsn: 400n, retainedBytes: 650n },
      { name: 'shop_anchor_20260131110000', lsn: 700n, retainedBytes: 350n },
    ],
    reachesBackTo: 400n,
    reachesBackToTime: new Date('2026-01-31T09:00:00Z'),
    bytes: 600n,
    time: 3 * 3_600_000,
    retainedBytes: 650n,
  })
})

test('an anchor that is invalidated, or being made, does not count', () => {
  const lost = anchor('09', 400n, { invalidation: 'wal_removed', restartLsn: undefined })
  const making = anchor('12', 0n, { confirmedFlushLsn: undefined, restartLsn: undefined })
  const window = describeWindow({ now, walEnd, live, anchors: [lost, anchor('11', 700n), making] })
  expect(window).toMatchObject({ reachesBackTo: 700n, bytes: 300n, retainedBytes: 350n })
  expect(window.anchors.map(({ retainedBytes }) => retainedBytes)).toEqual([0n, 350n, 0n])
})

test('without an anchor it reaches back to the live slot, since no known time; without any slot nowhere', () => {
  const nothing = { anchors: [], reachesBackToTime: null, time: null, retainedBytes: 0n }
  expect(describeWindow({ now, walEnd, live, anchors: [] })).toEqual({ ...nothing, reachesBackTo: 990n, bytes: 10n })
  expect(describeWindow({ now, walEnd, live: undefined, anchors: [] })).toEqual({
    ...nothing,
    reachesBackTo: null,
    bytes: null,
  })
})
