import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SequenceRing } from '../../src/base/sequence-ring.ts'

test('items keep the number under which they came', () => {
  const ring = new SequenceRing<string>(5)
  expect([ring.push('a'), ring.push('b')]).toEqual([5, 6])
  expect([ring.get(4), ring.get(5), ring.get(6), ring.get(7)]).toEqual([undefined, 'a', 'b', undefined])
  expect(ring.shift()).toBe('a')
  expect([ring.first, ring.next, ring.length, ring.get(5)]).toEqual([6, 7, 1, undefined])
})

test('an empty ring has nothing to take, and its numbering goes on', () => {
  const ring = new SequenceRing<string>(1)
  expect(ring.shift()).toBeUndefined()
  ring.push('a')
  ring.clear()
  expect([ring.first, ring.next, ring.length]).toEqual([2, 2, 0])
  expect(ring.push('b')).toBe(2)
})

test('replacing a number outside of the queue is refused', () => {
  const ring = new SequenceRing<string>()
  ring.push('a')
  ring.replace(0, 'b')
  expect(ring.get(0)).toBe('b')
  expect(() => ring.replace(1, 'c')).toThrow('no item 1 in the queue')
  ring.shift()
  expect(() => ring.replace(0, 'c')).toThrow(RangeError)
})

test('behaves as an array with an offset, through any growth and wrap-around', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.constant('push' as const) },
    { weight: 4, arbitrary: fc.constant('shift' as const) },
    { weight: 1, arbitrary: fc.constant('replace' as const) },
    { weight: 1, arbitrary: fc.constant('clear' as const) },
  )
  fc.assert(
    fc.property(fc.nat(9), fc.array(step, { maxLength: 200 }), (first, steps) => {
      const ring = new SequenceRing<number>(first, 2)
      const model: number[] = []
      let offset = first
      for (const [at, kind] of steps.entries()) {
        if (kind === 'push') {
          expect(ring.push(at)).toBe(offset + model.length)
          model.push(at)
        } else if (kind === 'shift') {
          expect(ring.shift()).toBe(model.shift())
          offset = ring.first
        } else if (kind === 'clear') {
          ring.clear()
          offset += model.length
          model.length = 0
        } else if (model.length > 0) {
          ring.replace(offset + (at % model.length), -at)
          model[at % model.length] = -at
        }
        expect([ring.first, ring.length, ring.next]).toEqual([offset, model.length, offset + model.length])
        expect(model.map((_, i) => ring.get(offset + i))).toEqual(model)
      }
    }),
  )
})
