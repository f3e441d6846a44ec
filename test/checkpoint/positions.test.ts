import fc from 'fast-check'
import { expect, test } from 'vitest'
import { comparePositions, describePosition, Positions } from '../../src/checkpoint/positions.ts'
import type { StartPosition } from '../../src/source/source.ts'

const at = (lsn: bigint, commitLsn?: bigint, rows = 1): StartPosition => ({
  lsn,
  partial: commitLsn === undefined ? null : { commitLsn, rows },
})

test('a session passes each position on from received to acknowledged', () => {
  const positions = new Positions(at(100n))
  positions.moveReceived(250n)
  positions.movePublished(250n)
  positions.moveSettled(at(200n, 220n, 3))
  positions.moveStored(at(200n, 220n, 3))
  expect(positions.moveAcknowledged(200n)).toBe(200n)
  expect(positions).toMatchObject({ received: 250n, published: 250n, acknowledged: 200n })
  expect(positions.stored).toEqual(at(200n, 220n, 3))
})

test('a session may start above what is stored, from memory, and above what is acknowledged', () => {
  const positions = new Positions(at(300n), at(200n), 150n)
  expect(positions).toMatchObject({ received: 300n, published: 300n, acknowledged: 150n })
  expect(positions.stored).toEqual(at(200n))
  expect(positions.settled).toEqual(at(300n))
})

test('an empty transaction is settled without being published', () => {
  const positions = new Positions(at(100n))
  positions.moveReceived(200n)
  positions.moveSettled(at(200n))
  expect(positions.published).toBe(200n)
})

const breaches: [string, (positions: Positions) => void, RegExp][] = [
  ['received moves back', (p) => p.moveReceived(399n), /received would move back/],
  ['published moves back', (p) => p.movePublished(349n), /published would move back/],
  ['published passes received', (p) => p.movePublished(401n), /published 0\/191 would pass received 0\/190/],
  ['settled moves back', (p) => p.moveSettled(at(299n)), /settled would move back/],
  ['settled loses its rows', (p) => p.moveSettled(at(300n, 310n, 1)), /settled would move back/],
  ['settled passes received', (p) => p.moveSettled(at(401n)), /settled 0\/191 would pass received/],
  ['settled rows pass received', (p) => p.moveSettled(at(300n, 401n)), /settled 0\/191 would pass received/],
  ['stored moves back', (p) => p.moveStored(at(199n)), /stored would move back/],
  ['stored passes settled', (p) => p.moveStored(at(301n)), /stored 0\/12D would pass settled/],
  ['stored rows pass settled ones', (p) => p.moveStored(at(300n, 310n, 3)), /would pass settled/],
  ['acknowledged moves back', (p) => p.moveAcknowledged(99n), /acknowledged would move back/],
  ['acknowledged passes stored', (p) => p.moveAcknowledged(201n), /acknowledged 0\/C9 would pass stored 0\/C8/],
]

test.each(breaches)('it is a broken invariant when %s', (_name, breach, message) => {
  const positions = new Positions(at(100n))
  positions.moveReceived(400n)
  positions.movePublished(350n)
  positions.moveSettled(at(300n, 310n, 2))
  positions.moveStored(at(200n))
  positions.moveAcknowledged(100n)
  expect(() => breach(positions)).toThrow(message)
  expect(() => breach(positions)).toThrow(expect.objectContaining({ code: 'ASSERTION_FAILED' }))
})

test('a session cannot start below what is stored, nor with more acknowledged than stored', () => {
  expect(() => new Positions(at(100n), at(101n))).toThrow(/stored 0\/65 lies above the start/)
  expect(() => new Positions(at(100n), at(100n), 101n)).toThrow(/acknowledged 0\/65 lies above stored/)
})

test('rows of the next transaction lie after the stored LSN, and the more the further', () => {
  const ascending = [at(1n), at(1n, 5n, 1), at(1n, 5n, 2), at(1n, 6n, 1), at(7n)]
  ascending.forEach((a, i) => {
    ascending.forEach((b, j) => {
      expect(Math.sign(comparePositions(a, b))).toBe(Math.sign(i - j))
    })
  })
  expect(describePosition(at(1n, 5n, 2))).toBe('0/1 and 2 rows of 0/5')
})

test('whatever is asked, the order of the five positions holds', () => {
  const lsn = fc.bigInt({ min: 0n, max: 40n })
  const position = fc.record({
    lsn,
    partial: fc.option(fc.record({ commitLsn: lsn, rows: fc.integer({ min: 1, max: 3 }) })),
  })
  const step = fc.oneof(
    fc.tuple(fc.constantFrom('moveReceived', 'movePublished', 'moveAcknowledged'), lsn),
    fc.tuple(fc.constantFrom('moveSettled', 'moveStored'), position),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const positions = new Positions(at(0n))
      for (const [name, value] of steps) {
        const before = positions.acknowledged
        try {
          ;(positions[name as 'moveReceived'] as (value: unknown) => void).call(positions, value)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ASSERTION_FAILED' })
        }
        expect(positions.acknowledged >= before).toBe(true)
        expect(positions.received >= positions.published).toBe(true)
        expect(positions.published >= positions.settled.lsn).toBe(true)
        expect(positions.published >= (positions.settled.partial?.commitLsn ?? 0n)).toBe(true)
        expect(comparePositions(positions.settled, positions.stored)).toBeGreaterThanOrEqual(0)
        expect(positions.stored.lsn >= positions.acknowledged).toBe(true)
      }
    }),
  )
})
