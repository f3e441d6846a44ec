import fc from 'fast-check'
import { test } from 'vitest'
import { agree, limits, step, WindowHistory } from './window-history.ts'

const modes = [
  { order: 'commit', positions: 'dense' },
  { order: 'aggregate', positions: 'dense' },
  { order: 'commit', positions: 'sparse' },
  { order: 'aggregate', positions: 'sparse' },
] as const

// Without a size fast-check makes ten steps at most.
const steps = fc.array(step, { maxLength: 120, size: 'max' })

test.each(modes)(
  'does what a naive window does, whatever comes in whatever order, and in the end all settles (%j)',
  (mode) => {
    fc.assert(
      fc.property(limits, steps, (bounds, history) => {
        const both = new WindowHistory(bounds, mode)
        for (const one of history) both.do(one)
        both.finish()
      }),
      { numRuns: 300 },
    )
  },
)

test('of one aggregate no two events are ever in flight, and the next only when the one before it is settled', () => {
  fc.assert(
    fc.property(limits, steps, (bounds, history) => {
      const both = new WindowHistory(bounds, { order: 'aggregate', positions: 'dense' })
      for (const one of history) {
        both.do(one)
        for (const aggregate of ['a', 'b', 'c']) {
          const own = both.model.rows.filter((row) => row.aggregate === aggregate && row.state !== 'settled')
          const flying = own.flatMap(({ state }, index) => (state === 'in-flight' ? [index] : []))
          agree(`of ${aggregate} in flight, counted from its first unsettled one`, flying, flying.length > 0 ? [0] : [])
        }
      }
    }),
    { numRuns: 300 },
  )
})
