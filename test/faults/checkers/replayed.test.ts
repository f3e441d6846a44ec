import { describe, expect, test } from 'vitest'
import { delivery, range } from './histories.ts'
import type { Delivery } from './history.ts'
import { checkLiveIsNoReplay, checkReplayed, type ReplayedFacts, type ReplayedRun, replayedAgain } from './replayed.ts'
import { checkSlots } from './slots.ts'
import type { Violation } from './violation.ts'

/** Events 1 to 8 of the live stream; the replay is of 3 to 8, all within a second each. */
const expected = range(8)
  .map((n) => delivery(n))
  .slice(2)
const again = (n: number, change: Partial<Delivery> = {}) => delivery(n, { replay: 'r1', ...change })
/** Begun when all up to event n was recorded; publishes these. */
const run = (n: number, events: readonly number[], more: Partial<ReplayedRun> = {}): ReplayedRun => ({
  start: { lsn: BigInt(n) * 100n + 50n, partial: null },
  deliveries: events.map((event) => again(event)),
  interruptions: 0,
  ...more,
})
const facts = (runs: readonly ReplayedRun[], more: Partial<ReplayedFacts> = {}): ReplayedFacts => ({
  ...{ id: 'r1', expected, runs, window: 1, storeInterval: 1000 },
  ...more,
})
const found = (runs: readonly ReplayedRun[], more: Partial<ReplayedFacts> = {}) =>
  checkReplayed(facts(runs, more)).map(({ invariant, what, count }: Violation) => `${invariant} ${count} ${what}`)
const only = (what: string, count = 1) => [expect.stringMatching(new RegExp(`^G9 ${count} replay r1: .*${what}`))]

describe('a replay', () => {
  test('is right when it gives the range again, in one run or in several', () => {
    expect(found([run(2, [3, 4, 5, 6, 7, 8])])).toEqual([])
    expect(found([run(2, [3, 4, 5, 6]), run(4, [5, 6, 7]), run(7, [8])])).toEqual([])
  })

  test('may be killed before it published anything', () => {
    expect(found([run(2, []), run(2, [3, 4, 5, 6, 7, 8]), run(8, [])])).toEqual([])
  })

  test('is wrong when an event of the range is missing', () => {
    expect(found([run(2, [3, 4, 5, 6, 7])])).toEqual(only('in its range, and not published'))
  })

  test('is wrong when it publishes what lies outside of its range', () => {
    expect(found([run(2, [2, 3, 4, 5, 6, 7, 8])])).toEqual(only('published, and not of its range'))
  })

  test.each<[string, Partial<Delivery>]>([
    ['body', { digest: 'other' }],
    ['position', { ordinal: 1 }],
    ['transaction', { commitLsn: 1n }],
    ['sequence', { sequence: 99 }],
    ['commit time', { committedAt: 5 }],
  ])('is wrong when an event has another %s than the first time', (_what, change) => {
    const deliveries = [3, 4, 5, 6, 7, 8].map((n) => again(n, n === 5 ? change : {}))
    expect(found([run(2, [], { deliveries })])).toEqual(only('differs from the first time'))
  })

  test('is wrong when an event carries no header of this replay', () => {
    const deliveries = [3, 4, 5, 6, 7, 8].map((n) => again(n, n < 5 ? { replay: n === 3 ? undefined : 'r2' } : {}))
    expect(found([run(2, [], { deliveries })])).toEqual(only('without its header', 2))
  })

  test('is wrong when events overtake each other', () => {
    const wrong = found([run(2, [3, 5, 4, 6, 7, 8])], { window: 2 })
    expect(wrong).toEqual([
      ...only('leaves out what lies before', 2),
      ...only('goes back 1 times with 0 interruptions'),
    ])
  })

  test('is wrong when it goes back without an interruption, or over more than the window', () => {
    const deliveries = [3, 4, 5, 5, 6, 7, 8].map((n) => again(n))
    expect(found([run(2, [], { deliveries })])).toEqual(only('goes back 1 times'))
    expect(found([run(2, [], { deliveries, interruptions: 1 })])).toEqual([])
    const far = [3, 4, 5, 4, 5, 6, 7, 8].map((n) => again(n))
    expect(found([run(2, [], { deliveries: far, interruptions: 1 })])).toEqual(
      only('goes back over 2 events, at most 1'),
    )
  })

  test('is wrong when a run begins elsewhere than where the record says', () => {
    expect(found([run(2, [3, 4]), run(4, [4, 5, 6, 7, 8])])).toEqual(only('begins with event 1 in place of 2'))
  })

  test('is wrong when more was recorded than published', () => {
    const wrong = found([run(2, [3, 4]), run(6, [7, 8])])
    expect(wrong).toEqual([...only('in its range, and not published', 2), ...only('2 events are recorded as settled')])
  })

  test('is wrong when a kill costs more than the window and what came since the last record', () => {
    // A second apart each: one of the window, two within a second.
    const runs = [run(2, [3, 4, 5, 6, 7]), run(3, [4, 5, 6, 7, 8])]
    expect(found(runs)).toEqual(only('4 events had been published and not recorded, at most 3'))
    expect(found(runs, { window: 2 })).toEqual([])
  })

  test('may be killed again before it comes as far as it was', () => {
    const runs = [run(2, [3, 4, 5, 6]), run(4, [5]), run(4, [5]), run(4, [5, 6, 7, 8])]
    expect(found(runs)).toEqual([])
  })

  test('is wrong when the record goes back', () => {
    const wrong = found([run(2, [3, 4, 5]), run(5, []), run(4, [5, 6, 7, 8])])
    expect(wrong).toEqual(only('the record went back over 1 events'))
  })

  test('goes on inside of a transaction', () => {
    const rows = range(4).map((n) => delivery(5, { id: `row${n}`, ordinal: n - 1 }))
    const at = (done: number) => ({ lsn: 450n, partial: { commitLsn: 500n, rows: done } })
    const part = (done: number, from: number) => ({
      start: at(done),
      deliveries: rows.slice(from).map((row) => ({ ...row, replay: 'r1' })),
      interruptions: 0,
    })
    expect(found([part(1, 1), part(3, 3)], { expected: rows.slice(1) })).toEqual([])
    expect(found([part(1, 1), part(3, 2)], { expected: rows.slice(1) })).toEqual(
      only('begins with event 1 in place of 2'),
    )
  })

  test('counts what it published again, without the second tries of the queue', () => {
    const runs = [run(2, [3, 4, 5]), run(3, [4, 5, 6])]
    expect(replayedAgain(runs)).toBe(2)
    expect(replayedAgain([...runs, run(6, [], { deliveries: [again(6, { redelivered: true })] })])).toBe(2)
  })
})

test('a live event with the header of a replay is wrong', () => {
  expect(checkLiveIsNoReplay(expected)).toEqual([])
  expect(checkLiveIsNoReplay([...expected, again(3)])).toMatchObject([{ invariant: 'G9', count: 1 }])
})

describe('I10, slots', () => {
  const anchors = range(4).map((n) => `live_anchor_2026013123595${n}`)
  const slots = (...names: string[]) => checkSlots({ slot: 'live', names, others: ['live_w'] })

  test('holds for the live slot, three anchors and what is the rig’s own', () => {
    expect(slots('live', 'live_w', ...anchors.slice(1))).toEqual([])
    expect(slots()).toEqual([])
  })

  test('fails for a fourth anchor, and for a slot that is none of these', () => {
    expect(slots('live', ...anchors)).toMatchObject([{ invariant: 'I10', count: 4 }])
    expect(slots('live', 'live_replay_12', 'live_anchor_new')).toMatchObject([{ invariant: 'I10', count: 2 }])
  })
})
