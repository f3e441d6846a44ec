import { expect, test } from 'vitest'
import type { Anchor } from '../../src/replay/anchor.ts'
import { anchorName } from '../../src/replay/anchor-name.ts'
import { type AnchorFacts, planAnchors } from '../../src/replay/plan-anchors.ts'

const slot = 'shop'
const now = new Date('2026-01-31T12:00:00Z')
const hour = 3_600_000
/** Sizes below are in megabytes: the window has a thousand of them. */
const MB = 1_000_000n
const walEnd = 1_000_000n * MB

/** An anchor that stands `back` bytes behind the WAL end, made so many hours ago. */
function anchor(back: number, hours: number, changes: Partial<Anchor> = {}): Anchor {
  const madeAt = new Date(now.getTime() - hours * hour)
  const lsn = walEnd - BigInt(back) * MB
  return {
    name: anchorName(slot, madeAt)!,
    madeAt,
    confirmedFlushLsn: lsn,
    restartLsn: lsn - 10n * MB,
    invalidation: undefined,
    active: false,
    ...changes,
  }
}

/** A window of 1000 MB and 24 hours, and a live slot that stands at the WAL end. */
function plan(anchors: readonly Anchor[], changes: Partial<AnchorFacts> = {}) {
  const live = { confirmedFlushLsn: walEnd, restartLsn: walEnd - 10n * MB, invalidation: undefined, active: true }
  return planAnchors({
    now,
    slot,
    walEnd,
    live,
    anchors,
    window: { time: 24 * hour, bytes: 1_000_000_000 },
    walRate: 0,
    tickGrowth: 0,
    refreshedAt: undefined,
    known: undefined,
    loss: undefined,
    ...changes,
  })
}

const made = 'shop_anchor_20260131120000'
const reasons = (decision: ReturnType<typeof plan>) => decision.drops.map(({ because }) => because)

test.each([
  ['the first', [], []],
  ['half of the bytes after the newest', [anchor(500, 1)], []],
  ['half of the time after the newest', [anchor(20, 12)], []],
  ['when the oldest makes room', [anchor(1500, 3), anchor(1000, 2), anchor(500, 1)], ['covered']],
  [
    'in place of the newest, which stands close to the one before',
    [anchor(900, 3), anchor(700, 2), anchor(500, 1)],
    ['spare'],
  ],
])('an anchor is made: %s', (_, anchors, drops) => {
  const decision = plan(anchors)
  expect(decision.create).toBe(made)
  expect(reasons(decision)).toEqual(drops)
  expect(decision.degraded).toBeUndefined()
})

test.each([
  ['the newest is younger than half of both', [anchor(499, 11.9)], {}],
  ['the live slot has not moved since the newest', [anchor(0, 23)], {}],
  [
    'the live slot stands, and the broker is down',
    [anchor(900, 5)],
    {
      live: {
        confirmedFlushLsn: walEnd - 900n * MB,
        restartLsn: walEnd - 910n * MB,
        invalidation: undefined,
        active: true,
      },
    },
  ],
  ['there are three, and the second does not cover the window', [anchor(1450, 4), anchor(999, 3), anchor(500, 2)], {}],
  ['there is one of that second', [anchor(500, 0)], {}],
])('none is made: %s', (_, anchors, changes) => {
  const decision = plan(anchors, changes)
  expect(decision).toMatchObject({ create: undefined, drops: [], degraded: undefined })
})

test.each([
  ['by size', anchor(1000, 2), ['covered']],
  ['by time', anchor(20, 24), ['covered']],
  ['neither', anchor(999, 23.9), []],
])('the oldest goes once the second covers the window: %s', (_, second, drops) => {
  const oldest = anchor(1400, 30)
  const decision = plan([oldest, second])
  expect(reasons(decision)).toEqual(drops)
})

test('of several that are no longer needed all go at once, the oldest first', () => {
  const decision = plan([anchor(1100, 1), anchor(1300, 3), anchor(1200, 2)])
  expect(decision.drops.map(({ name }) => name)).toEqual([anchor(0, 3).name, anchor(0, 2).name])
})

test('an anchor goes before it retains twice the bytes, also the only one, also the youngest', () => {
  const held = { restartLsn: walEnd - 1751n * MB }
  expect(plan([anchor(400, 1, { ...held, restartLsn: walEnd - 1750n * MB })]).drops).toEqual([])
  const only = plan([anchor(400, 1, held)])
  expect(reasons(only)).toEqual(['bound'])
  expect(only.loss).toMatchObject({ kind: 'bound', text: expect.stringContaining('2000000000 bytes') })
  expect(reasons(plan([anchor(900, 2), anchor(400, 1, held)]))).toEqual(['bound'])
})

test('the faster WAL is written, the earlier one goes, and the sooner is the next tick', () => {
  const one = anchor(1500, 2)
  expect(plan([one], { walRate: 10_000, tickGrowth: 10_000_000 })).toMatchObject({ drops: [], wait: 1000 })
  expect(plan([one], { walRate: 250_000, tickGrowth: 62_000_000 })).toMatchObject({ drops: [], wait: 250 })
  expect(plan([one], { walRate: 1_600_000, tickGrowth: 240_000_000 })).toMatchObject({ drops: [], wait: 39 })
  expect(plan([one], { walRate: 1_700_000 })).toMatchObject({ drops: [{ because: 'bound' }] })
  expect(plan([], { walRate: 6_000_000 })).toMatchObject({
    create: undefined,
    degraded: { kind: 'too-fast' },
    wait: 25,
  })
  expect(plan([one], { tickGrowth: 250_000_000 })).toMatchObject({ drops: [{ because: 'bound' }] })
  expect(plan([one], { walRate: undefined })).toMatchObject({ wait: 25 })
})

test.each([
  [
    'slot-retains',
    {
      live: {
        confirmedFlushLsn: walEnd - 1300n * MB,
        restartLsn: walEnd - 1400n * MB,
        invalidation: undefined,
        active: true,
      },
    },
  ],
  ['slot', { live: undefined }],
  ['slot', { live: { confirmedFlushLsn: walEnd, restartLsn: undefined, invalidation: 'wal_removed', active: true } }],
  ['slot-name', { slot: 'x'.repeat(42) }],
  ['too-fast', { tickGrowth: 800_000_000 }],
])('where no anchor could last the window is degraded, and none is made: %s', (kind, changes) => {
  const decision = plan([], changes)
  expect(decision.create).toBeUndefined()
  expect(decision.degraded?.kind).toBe(kind)
})

test('an invalidated anchor goes, another is made, and the window is degraded until it reaches back far enough again', () => {
  const lost = anchor(1200, 3, { invalidation: 'wal_removed', restartLsn: undefined })
  const first = plan([lost])
  expect(first).toMatchObject({ drops: [{ name: lost.name, because: 'invalidated' }], create: made })
  expect(first.loss).toMatchObject({ kind: 'invalidated', text: expect.stringContaining('wal_removed') })
  expect(plan([anchor(999, 1)], { loss: first.loss }).loss).toBe(first.loss)
  expect(plan([anchor(1000, 1)], { loss: first.loss }).loss).toBeUndefined()
})

test('an anchor that somebody dropped is noticed; it matters when no other covers the window', () => {
  const known = [anchor(0, 9).name, anchor(0, 2).name]
  expect(plan([anchor(600, 2)], { known })).toMatchObject({ gone: [known[0]], loss: { kind: 'gone' }, create: made })
  expect(plan([anchor(1000, 2)], { known })).toMatchObject({ gone: [known[0]], loss: undefined })
  expect(plan([anchor(600, 2)], { known: undefined }).gone).toEqual([])
})

test('what somebody uses stays for now, is counted, and degrades the window when it retains too much', () => {
  const active = { active: true }
  const three = [anchor(1500, 3, active), anchor(1000, 2), anchor(500, 1)]
  expect(plan(three)).toMatchObject({ drops: [], create: undefined, degraded: undefined })
  expect(plan([anchor(1900, 3, active)])).toMatchObject({ drops: [], degraded: { kind: 'in-use' } })
})

test('of more than three, as two bridges can make, the one goes that stands closest to an older one', () => {
  const four = [anchor(900, 4), anchor(500, 3), anchor(490, 2), anchor(100, 1)]
  expect(plan(four).drops).toEqual([{ name: four[2]!.name, because: 'spare' }])
})

test.each([
  ['time', { time: 0, bytes: 1_000_000_000 }],
  ['bytes', { time: hour, bytes: 0 }],
])('a window of 0 %s removes all anchors and makes none', (_, window) => {
  const decision = plan([anchor(100, 1), anchor(50, 0.5, { active: true })], { window })
  expect(decision).toMatchObject({
    drops: [{ name: anchor(0, 1).name, because: 'off' }],
    create: undefined,
    wait: 1000,
  })
  expect(plan([], { window })).toMatchObject({ drops: [], create: undefined, degraded: undefined, wait: 30_000 })
})

test.each([
  ['a quarter of the window after the newest', 250, 63, undefined, true],
  ['not before', 249, 63, undefined, false],
  ['not while little WAL lies behind the live slot', 400, 62, undefined, false],
  ['not again within a sixteenth of the window', 400, 500, walEnd - 62n * MB, false],
  ['but after it', 400, 500, walEnd - 63n * MB, true],
])('a snapshot is asked for: %s', (_, back, gap, refreshedAt, refresh) => {
  const live = {
    confirmedFlushLsn: walEnd,
    restartLsn: walEnd - BigInt(gap) * MB,
    invalidation: undefined,
    active: true,
  }
  expect(plan([anchor(back, 1)], { live, refreshedAt }).refresh).toBe(refresh)
})
