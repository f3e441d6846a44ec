import { expect, test } from 'vitest'
import { KeyTrail } from '../../src/source/key-trail.ts'

test('gives the last key below a number, and forgets those before it', () => {
  const trail = new KeyTrail()
  for (const ordinal of [9, 19, 29]) trail.note(ordinal, `k${ordinal}`)
  expect([9, 10, 19, 20, 25].map((ordinal) => trail.below(ordinal))).toEqual([undefined, 'k9', 'k9', 'k19', 'k19'])
  expect(trail.below(1000)).toBe('k29')
  trail.note(39, 'k39')
  expect(trail.below(39)).toBe('k29')
})

test('to ask for the last one forgets none', () => {
  const trail = new KeyTrail()
  expect(trail.last).toBeUndefined()
  for (const ordinal of [9, 19, 29]) trail.note(ordinal, `k${ordinal}`)
  expect([trail.last, trail.below(20), trail.last]).toEqual(['k29', 'k19', 'k29'])
})

test('stays small when nobody asks, and then answers with an older key, never a younger one', () => {
  const trail = new KeyTrail()
  for (let ordinal = 0; ordinal < 100_000; ordinal++) trail.note(ordinal, String(ordinal))
  for (const ordinal of [1, 1000, 50_000, 99_999]) expect(Number(trail.below(ordinal))).toBeLessThan(ordinal)
  expect(Number(trail.below(99_999))).toBeGreaterThan(99_990)
})
