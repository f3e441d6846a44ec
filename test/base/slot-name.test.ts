import { expect, test } from 'vitest'
import { slotName_length_max, slotNameFor } from '../../src/base/slot-name.ts'

test('the name of a slot that belongs to another is its name and a suffix', () => {
  expect(slotNameFor('orders', '_rewind')).toBe('orders_rewind')
  expect(slotNameFor('x'.repeat(56), '_rewind')).toBe(`${'x'.repeat(56)}_rewind`)
})

test('a long one is cut, and is neither the slot itself nor the name of another long one', () => {
  const slots = ['a', 'b', 'c'].flatMap((end) => [57, 60, 63].map((length) => `${'x'.repeat(length - 1)}${end}`))
  const names = slots.map((slot) => slotNameFor(slot, '_rewind'))
  for (const name of names) expect(name).toMatch(/^x+_[0-9a-f]{8}_rewind$/)
  expect(Math.max(...names.map(({ length }) => length))).toBe(slotName_length_max)
  expect(new Set([...names, ...slots]).size).toBe(2 * slots.length)
})
