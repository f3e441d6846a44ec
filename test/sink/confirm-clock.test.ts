import { expect, test } from 'vitest'
import { ConfirmClock } from '../../src/sink/confirm-clock.ts'

/** Ticks every interval from `from` to `to`; the time of the tick that said overdue. */
function run(clock: ConfirmClock, from: number, to: number, sentAt: number, paused = false): number | undefined {
  for (let now = from + clock.tickInterval; now <= to; now += clock.tickInterval)
    if (clock.tick(now, sentAt, paused)) return now
  return undefined
}

test('a publish is overdue after the timeout, not before', () => {
  const clock = new ConfirmClock(30_000, 0)
  expect(clock.tickInterval).toBe(1000)
  expect(run(clock, 0, 60_000, clock.at(0))).toBe(31_000)
})

test('nothing in flight is never overdue', () => {
  const clock = new ConfirmClock(1000, 0)
  for (let now = 100; now < 5000; now += 100) expect(clock.tick(now, undefined, false)).toBe(false)
})

test('the time in which the broker blocks does not count', () => {
  const clock = new ConfirmClock(10_000, 0)
  const sentAt = clock.at(0)
  expect(run(clock, 0, 5000, sentAt)).toBeUndefined()
  clock.pause(true, 5000)
  expect(run(clock, 5000, 95_000, sentAt, true)).toBeUndefined()
  expect(clock.at(95_000)).toBe(5000)
  clock.pause(false, 95_000)
  expect(run(clock, 95_000, 120_000, sentAt)).toBe(101_000)
})

test('a stall of this process counts as little and is followed by a round of grace', () => {
  const clock = new ConfirmClock(10_000, 0)
  const sentAt = clock.at(0)
  expect(run(clock, 0, 9000, sentAt)).toBeUndefined()
  expect(clock.tick(200_000, sentAt, false)).toBe(false)
  expect(clock.at(200_000)).toBe(11_000)
  expect(clock.tick(201_000, sentAt, false)).toBe(true)
})

test('a publish between two ticks is noted with its own time', () => {
  const clock = new ConfirmClock(10_000, 0)
  clock.tick(1000, undefined, false)
  expect([clock.at(1000), clock.at(1400), clock.at(1999)]).toEqual([1000, 1400, 1999])
})

test('never goes back, whatever the pauses', () => {
  const clock = new ConfirmClock(10_000, 0)
  let last = 0
  for (let now = 0; now < 20_000; now += 130) {
    if (now % 910 === 0) clock.pause(now % 1820 === 0, now)
    if (now % 1040 === 0) clock.tick(now, undefined, now % 2080 === 0)
    expect(clock.at(now)).toBeGreaterThanOrEqual(last)
    last = clock.at(now)
  }
})
