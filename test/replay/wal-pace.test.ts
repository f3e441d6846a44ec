import { expect, test } from 'vitest'
import { WalPace } from '../../src/replay/wal-pace.ts'

test('nothing is known before the second look, and a rate is taken over 200 ms at least', () => {
  const pace = new WalPace()
  expect([pace.rate, pace.growth]).toEqual([undefined, undefined])
  pace.note(0, 1000n)
  expect([pace.rate, pace.growth]).toEqual([undefined, undefined])
  pace.note(100, 2500n)
  expect([pace.rate, pace.growth]).toEqual([0, 1500])
  pace.note(200, 2600n)
  expect(pace.rate).toBe(8)
})

test('a burst, and a look that came late, still count when they are over, and fade', () => {
  const pace = new WalPace()
  pace.note(0, 0n)
  pace.note(2000, 10_000n)
  pace.note(2100, 10_100n)
  expect(pace.rate).toBeCloseTo(5 * 0.5 ** 0.04)
  expect(pace.growth).toBeCloseTo(10_000 * 0.5 ** 0.01)
  for (let at = 2200; at <= 80_000; at += 100) pace.note(at, 10_100n + BigInt(at - 2100))
  expect(pace.rate).toBeCloseTo(1)
  expect(pace.growth).toBe(100)
})

test('a WAL end that went back, as after a fail-over, is no growth', () => {
  const pace = new WalPace()
  pace.note(0, 1000n)
  pace.note(300, 500n)
  expect([pace.rate, pace.growth]).toEqual([0, 0])
})
