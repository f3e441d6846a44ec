import { expect, test } from 'vitest'
import { StatusPacing } from '../../src/source/status-pacing.ts'

test('without news the next status update is due after the interval', () => {
  expect(new StatusPacing(10_000, 500).dueAt).toBe(10_500)
})

test('a new stored LSN is told within 100 ms, and several in that time at once', () => {
  const pacing = new StatusPacing(10_000, 0)
  pacing.sent(1000)
  pacing.acknowledged()
  pacing.acknowledged()
  expect(pacing.dueAt).toBe(1100)
  pacing.sent(1100)
  expect(pacing.dueAt).toBe(11_100)
})

test('a keep-alive that asks is answered at once, and a storm of them every 20 ms', () => {
  const pacing = new StatusPacing(10_000, 0)
  let now = 5000
  pacing.asked()
  expect(pacing.dueAt).toBeLessThanOrEqual(now)
  let sent = 0
  for (; now < 6000; now += 0.1) {
    pacing.asked()
    if (pacing.dueAt > now) continue
    pacing.sent(now)
    sent++
  }
  expect(sent).toBeGreaterThan(40)
  expect(sent).toBeLessThanOrEqual(51)
})
