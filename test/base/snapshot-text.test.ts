import { expect, test } from 'vitest'
import { readableSnapshot } from '../../src/base/snapshot-text.ts'

// A backfill beside writers once ended with 22P02: the snapshot of its slot was such a one.
test.each([
  ['1701:1700:', '1701:1701:'],
  ['1700:1700:', '1700:1700:'],
  ['1699:1702:1699,1701', '1699:1702:1699,1701'],
  ['4294967999:4294967998:', '4294967999:4294967999:'],
])('%s is taken back as %s', (text, expected) => {
  expect(readableSnapshot(text)).toBe(expected)
})
