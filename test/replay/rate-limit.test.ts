import { expect, test } from 'vitest'
import { parseRate, RateLimit } from '../../src/replay/rate-limit.ts'

/** How many pass within `duration` ms when each is asked for again as soon as it is due. */
function passed(rate: number | undefined, duration: number): number {
  const limit = new RateLimit(rate)
  let count = 0
  for (let now = 0; now < duration && count < 100_000; ) {
    const wait = limit.take(now)
    if (wait === 0) count++
    else now += wait
  }
  return count
}

test.each([10, 200, 5000])('%s a second pass in a second, give or take a burst of 50 ms', (rate) => {
  const most = rate * 1.05 + 2
  expect(passed(rate, 1000)).toBeGreaterThanOrEqual(rate)
  expect(passed(rate, 1000)).toBeLessThanOrEqual(most)
})

test('without a rate nothing waits', () => {
  expect(passed(undefined, 1)).toBe(100_000)
})

test('a long pause does not let a flood through afterwards', () => {
  const limit = new RateLimit(100)
  limit.take(0)
  let burst = 0
  while (limit.take(60_000) === 0) burst++
  expect(burst).toBeLessThanOrEqual(6)
})

test.each([
  ['500', 500],
  ['500/s', 500],
  ['30/m', 0.5],
  ['0.5/s', 0.5],
])('%s is %s a second', (text, rate) => {
  expect(parseRate(text)).toBe(rate)
})

test.each(['', '0', '-1', '5/h', 'fast', '1e3', '1000001'])('%j is no rate', (text) => {
  expect(parseRate(text)).toBeUndefined()
})
