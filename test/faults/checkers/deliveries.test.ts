import { describe, expect, test } from 'vitest'
import { checkFewRepeats, type RepeatFacts, repeats } from './few-repeats.ts'
import { change, delivery, ledger, range, witnessedRow, writtenRow } from './histories.ts'
import { checkNoLoss, lostEvents } from './no-loss.ts'
import { checkNothingUncommitted } from './nothing-uncommitted.ts'
import { checkOracle } from './oracle.ts'
import { checkOrder } from './order.ts'
import type { Violation } from './violation.ts'

const good = range(6).map((n) => delivery(n))
const witnessed = range(6).map(witnessedRow)
const kinds = (violations: readonly Violation[]) => violations.map(({ invariant, count }) => `${invariant} ${count}`)

describe('I1, no loss', () => {
  const ids = (...without: string[]) => new Set(good.map(({ id }) => id).filter((id) => !without.includes(id)))

  test('holds when all that committed was received', () => {
    expect(lostEvents(ledger(6), ids(), new Set())).toEqual([])
  })

  test('fails for an event that committed and was not received', () => {
    const lost = lostEvents(ledger(6), ids('e3'), new Set())
    expect(lost).toEqual(['e3'])
    expect(kinds(checkNoLoss(lost))).toEqual(['I1 1'])
  })

  test('holds when it is a dead letter', () => {
    expect(lostEvents(ledger(6), ids('e3'), new Set(['e3']))).toEqual([])
  })

  test('asks nothing of what is in doubt', () => {
    expect(lostEvents(ledger(5, { unknown: new Map([['e6', writtenRow(6)]]) }), ids('e6'), new Set())).toEqual([])
  })
})

describe('I2, nothing uncommitted', () => {
  test('holds for what was written, of known or unknown outcome', () => {
    expect(checkNothingUncommitted(ledger(6), good)).toEqual([])
    expect(checkNothingUncommitted(ledger(5, { unknown: new Map([['e6', writtenRow(6)]]) }), good)).toEqual([])
  })

  test('fails for a row that was rolled back', () => {
    expect(kinds(checkNothingUncommitted(ledger(5, { aborted: new Set(['e6']) }), good))).toEqual(['I2 1'])
  })

  test('fails for a row that nobody wrote', () => {
    expect(kinds(checkNothingUncommitted(ledger(4), good))).toEqual(['I2 2'])
  })

  test('fails for a message that differs from its row, also in a repeat', () => {
    const changed = [...good, delivery(2, { digest: 'other' })]
    expect(kinds(checkNothingUncommitted(ledger(6), changed))).toEqual(['I2 1'])
  })
})

describe('I3, order', () => {
  const facts = { deliveries: good, witnessed, order: 'commit', interruptions: 0 } as const
  const swap = (a: number, b: number) => good.map((each, n) => (n === a ? good[b]! : n === b ? good[a]! : each))

  test('holds in commit order', () => {
    expect(checkOrder(facts)).toEqual([])
  })

  test('fails when an aggregate comes out of order, with each order', () => {
    const deliveries = swap(1, 3)
    expect(kinds(checkOrder({ ...facts, deliveries, order: 'aggregate' }))).toEqual(['I3 1'])
    expect(kinds(checkOrder({ ...facts, deliveries, interruptions: 9 }))).toEqual(['I3 1', 'I3 2'])
  })

  test('fails when aggregates overtake each other, unless order is asked for within aggregates only', () => {
    const deliveries = swap(1, 2)
    expect(kinds(checkOrder({ ...facts, deliveries, interruptions: 9 }))).toEqual(['I3 1'])
    expect(checkOrder({ ...facts, deliveries, order: 'aggregate' })).toEqual([])
  })

  test('fails when it goes back more often than it was interrupted', () => {
    const deliveries = [...good.slice(0, 4), ...good.slice(2)]
    expect(checkOrder({ ...facts, deliveries, interruptions: 1 })).toEqual([])
    expect(kinds(checkOrder({ ...facts, deliveries }))).toEqual(['I3 1'])
  })

  test('does not take second tries of the queue for steps back', () => {
    const deliveries = [...good.slice(0, 4), delivery(3, { redelivered: true }), ...good.slice(4)]
    expect(checkOrder({ ...facts, deliveries })).toEqual([])
  })

  test('fails when a message carries another position than the independent slot saw', () => {
    const deliveries = good.map((each, n) => (n === 2 ? delivery(3, { ordinal: 1 }) : each))
    expect(kinds(checkOrder({ ...facts, deliveries }))).toEqual(['I3 1'])
  })
})

describe('I4, few repeats', () => {
  // The first session began at 0; the second after event 4 had been stored.
  const changes = [
    change(1, 0, { at: 0 }),
    change(2, 4),
    change(3, 4, { at: 4600, epoch: 2n }),
    change(4, 6, { epoch: 2n }),
  ]
  const facts: RepeatFacts = {
    deliveries: good,
    changes,
    interruptions: 1,
    window: 2,
    storeInterval: 100,
    explained: 0,
    stale: 0,
  }

  test('holds without repeats, and for repeats above the stored position', () => {
    expect(checkFewRepeats(facts)).toEqual([])
    const deliveries = [...good.slice(0, 5), ...good.slice(4)]
    expect(repeats(deliveries).map(({ id }) => id)).toEqual(['e5'])
    expect(checkFewRepeats({ ...facts, deliveries })).toEqual([])
  })

  test('fails for a repeat of what was stored before the session began', () => {
    const deliveries = [...good.slice(0, 5), delivery(4), delivery(5), delivery(6)]
    expect(kinds(checkFewRepeats({ ...facts, deliveries }))).toEqual(['I4 1'])
    expect(checkFewRepeats({ ...facts, deliveries, stale: 1 })).toEqual([])
  })

  test('sees a position inside of a transaction', () => {
    const inside = { lsn: 450n, partial: { commitLsn: 500n, rows: 1 } }
    const partly = [...changes.slice(0, 2), change(3, 4, { at: 5500, epoch: 2n, stored: inside })]
    const deliveries = [...good, delivery(5)]
    expect(kinds(checkFewRepeats({ ...facts, changes: partly, deliveries }))).toEqual(['I4 1'])
    expect(kinds(checkFewRepeats({ ...facts, changes: partly, deliveries: [...good, delivery(6)] }))).toEqual([])
  })

  test('cannot blame a session for what may be left from the one before', () => {
    // Published twice by the first session, whose connection broke; consumed late.
    const deliveries = [...good.slice(0, 4), delivery(3), delivery(4), ...good.slice(4)]
    expect(checkFewRepeats({ ...facts, deliveries })).toEqual([])
  })

  test('fails for more than the window and what was settled since the last store, for each interruption', () => {
    // A second apart, so that one is settled between two stores: 1 of the window and 1 of these.
    const deliveries = [...good, ...range(4).map((n) => delivery(6, { arrivedAt: 10_000 + n * 1000 }))]
    const few = { ...facts, deliveries, window: 1 }
    expect(kinds(checkFewRepeats({ ...few, interruptions: 0 }))).toEqual(['I4 4'])
    expect(kinds(checkFewRepeats({ ...few, interruptions: 1 }))).toEqual(['I4 2'])
    expect(checkFewRepeats({ ...few, interruptions: 2 })).toEqual([])
    expect(checkFewRepeats({ ...few, interruptions: 1, explained: 2 })).toEqual([])
  })
})

describe('the oracle', () => {
  test('agrees with the ledger', () => {
    expect(checkOracle(ledger(6), witnessed)).toEqual([])
    expect(checkOracle(ledger(5, { unknown: new Map([['e6', writtenRow(6)]]) }), witnessed)).toEqual([])
  })

  test('contradicts when either saw more', () => {
    expect(kinds(checkOracle(ledger(5), witnessed))).toEqual(['oracle 1'])
    expect(kinds(checkOracle(ledger(6), witnessed.slice(1)))).toEqual(['oracle 1'])
  })
})
