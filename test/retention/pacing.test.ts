import { expect, test } from 'vitest'
import { cutBatches, nextChunk, pauseAfterPass } from '../../src/retention/pacing.ts'

test.each([
  ['nothing', [], []],
  ['one block', [[7, 3]], [[7, 8, 3]]],
  [
    'blocks that fit together, with a hole',
    [
      [0, 400],
      [2, 600],
    ],
    [[0, 3, 1000]],
  ],
  [
    'one row too many',
    [
      [0, 400],
      [1, 601],
    ],
    [
      [0, 1, 400],
      [1, 2, 601],
    ],
  ],
  [
    'a block that holds more than a batch',
    [
      [0, 10],
      [1, 1500],
      [2, 10],
    ],
    [
      [0, 1, 10],
      [1, 2, 1500],
      [2, 3, 10],
    ],
  ],
])('%s is cut into batches of about a thousand rows', (_, blocks, expected) => {
  const batches = cutBatches((blocks as [number, number][]).map(([block, rows]) => ({ block, rows })))
  expect(batches.map(({ from, to, rows }) => [from, to, rows])).toEqual(expected)
})

test.each([
  [256, 1, 512],
  [256, 20, 256],
  [256, 100, 128],
  [16, 1000, 16],
  [16_384, 1, 16_384],
])('after %i blocks in %i ms come %i', (blocks, elapsed, expected) => {
  expect(nextChunk(blocks, elapsed)).toBe(expected)
})

const [minute, day] = [60_000, 86_400_000]

test.each([
  ['a short retention', minute, 0, false, 10_000],
  ['a day', day, 0, false, day / 24],
  ['a month', 30 * day, 0, false, day / 24],
  ['a month, waiting for the stored LSN', 30 * day, 0, true, minute],
  ['a pass that took long', day, day / 24, false, day / 6],
])('%s', (_, age, took, waiting, expected) => {
  expect(pauseAfterPass(age, took, waiting)).toBe(expected)
})
