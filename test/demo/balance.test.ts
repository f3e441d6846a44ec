import { expect, test } from 'vitest'
import { type Arrival, balanceOf } from '../../demo/balance.ts'

const ledger = { committed: ['a', 'b', 'c', 'd'], rolledBack: ['x'] }
const arrivals: readonly Arrival[] = [
  { id: 'a', lsn: '0/FF', ordinal: 0 },
  { id: 'b', lsn: '0/FF', ordinal: 1 },
  { id: 'c', lsn: '0/100', ordinal: 0 },
  { id: 'd', lsn: '1/0', ordinal: 0 },
]
const stored = '1/10'

test('everything committed arrived once and in order: the balance is right', () => {
  expect(balanceOf(ledger, arrivals, stored)).toEqual({
    committed: 4,
    rolledBack: 1,
    delivered: 4,
    repeated: 0,
    lost: [],
    rolledBackButSeen: [],
    unknown: [],
    outOfOrder: [],
    moved: [],
    notStored: [],
    right: true,
  })
})

test('a suffix that arrives again is counted and right', () => {
  const balance = balanceOf(ledger, [...arrivals.slice(0, 3), ...arrivals.slice(1)], stored)
  expect(balance).toMatchObject({ delivered: 4, repeated: 2, right: true })
})

test.each(ledger.committed)('one id dropped from what arrived makes it wrong: %s', (id) => {
  const balance = balanceOf(
    ledger,
    arrivals.filter((arrival) => arrival.id !== id),
    stored,
  )
  expect(balance).toMatchObject({ delivered: 3, lost: [id], outOfOrder: [], right: false })
})

test('a repeat does not make up for a lost event', () => {
  const balance = balanceOf(ledger, [...arrivals.slice(0, 3), arrivals[2]!], stored)
  expect(balance).toMatchObject({ lost: ['d'], repeated: 1, right: false })
})

test('a rolled-back event that arrives makes it wrong', () => {
  const balance = balanceOf(ledger, [...arrivals, { id: 'x', lsn: '1/1', ordinal: 0 }], stored)
  expect(balance).toMatchObject({ rolledBackButSeen: ['x'], unknown: [], right: false })
})

test('an event that nobody wrote makes it wrong', () => {
  const balance = balanceOf(ledger, [...arrivals, { id: 'y', lsn: '1/1', ordinal: 0 }], stored)
  expect(balance).toMatchObject({ unknown: ['y'], right: false })
})

test('two events that change places make it wrong, although both are there', () => {
  const [a, b, c, d] = arrivals as [Arrival, Arrival, Arrival, Arrival]
  const balance = balanceOf(ledger, [a, c, b, d], stored)
  expect(balance).toMatchObject({ lost: [], right: false })
  expect(balance.outOfOrder).toContain('b')
})

test('an order by position that is not the order of the commits is wrong', () => {
  const balance = balanceOf({ ...ledger, committed: ['b', 'a', 'c', 'd'] }, arrivals, stored)
  expect(balance).toMatchObject({ outOfOrder: ['a', 'b'], right: false })
})

test('positions that go back are wrong, also when the events came in the order of the commits', () => {
  const back = arrivals.map((arrival) => (arrival.id === 'c' ? { ...arrival, lsn: '0/F0' } : arrival))
  expect(balanceOf(ledger, back, stored)).toMatchObject({ outOfOrder: ['c'], right: false })
})

test('two events at one position are wrong', () => {
  const balance = balanceOf(
    ledger,
    arrivals.map((arrival) => ({ ...arrival, ordinal: 0 })),
    stored,
  )
  expect(balance).toMatchObject({ outOfOrder: ['b'], right: false })
})

test('positions are compared as numbers: 0/FF comes before 0/100 and 1/0', () => {
  expect(balanceOf(ledger, arrivals, stored).outOfOrder).toEqual([])
})

test('a repeat at another position is wrong', () => {
  const balance = balanceOf(ledger, [...arrivals, { id: 'a', lsn: '2/0', ordinal: 0 }], stored)
  expect(balance).toMatchObject({ moved: ['a'], right: false })
})

test('a stored LSN that does not lie above every commit is wrong', () => {
  expect(balanceOf(ledger, arrivals, '1/0')).toMatchObject({ notStored: ['d'], right: false })
})

test('an empty run is right, and holds nothing', () => {
  expect(balanceOf({ committed: [], rolledBack: [] }, [], '0/0')).toMatchObject({ committed: 0, right: true })
})
