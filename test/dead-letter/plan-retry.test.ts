import { expect, test } from 'vitest'
import {
  batch_bytes_max,
  batch_rows_max,
  type Candidate,
  firstBatch,
  sendableHeads,
  withoutOvertaking,
} from '../../src/dead-letter/plan-retry.ts'

/** `A1` is the first dead letter of aggregate A; `*` selected, `w` only waits, `!` not selected and failed itself. */
function heads(...words: string[]): Candidate[] {
  return words.map((word, n) => ({
    id: word,
    commitLsn: BigInt(n + 1),
    ordinal: 0,
    bytes: 100,
    aggregateKey: word.startsWith('-') ? null : word.slice(0, 1),
    held: true,
    selected: word.endsWith('*'),
    waits: word.endsWith('w'),
  }))
}

const ids = (candidates: readonly { readonly id: string }[]) => candidates.map(({ id }) => id).join(' ')

test.each([
  ['all selected', ['A1*', 'A2*'], 'A1* A2*'],
  ['what waits follows a selected culprit', ['A1*', 'A2w', 'A3w'], 'A1* A2w A3w'],
  ['what waits stays behind a culprit that is not selected', ['A1!', 'A2w', 'A3*'], ''],
  ['another culprit in between stops what is behind it', ['A1*', 'A2w', 'A3!', 'A4w', 'A5*'], 'A1* A2w'],
  ['what a crash or a discard left without a culprit goes', ['A1w', 'A2w'], 'A1w A2w'],
  ['aggregates do not hold up each other', ['A1!', 'B1*', 'A2w', 'B2w'], 'B1* B2w'],
])('of the heads %s', (_, words, sent) => {
  expect(ids(sendableHeads(heads(...words)))).toBe(sent)
})

test('nothing overtakes a dead letter that somebody else has taken', () => {
  const batch = heads('A1*', 'B1*', 'A2w', 'B2w')
  const taken = batch.filter(({ id }) => id !== 'A1*')
  expect(ids(withoutOvertaking(batch, taken))).toBe('B1* B2w')
})

test('without a parked aggregate each goes for itself', () => {
  const batch = heads('A1*', 'A2*').map((one) => ({ ...one, held: false }))
  expect(ids(withoutOvertaking(batch, batch.slice(1)))).toBe('A2*')
})

test('a batch is bounded in rows and in bytes, but always takes one', () => {
  const many = Array.from({ length: batch_rows_max + 5 }, (_, n) => ({ ...heads('A*')[0]!, commitLsn: BigInt(n) }))
  expect(firstBatch(many)).toHaveLength(batch_rows_max)
  const large = many.map((one) => ({ ...one, bytes: batch_bytes_max / 3 + 1 }))
  expect(firstBatch(large)).toHaveLength(2)
  expect(firstBatch(many.map((one) => ({ ...one, bytes: batch_bytes_max * 10 })))).toHaveLength(1)
})

test('two at one position, as a replay leaves them, go in different batches: the window tells rows by position', () => {
  const [one, two] = heads('A1*', 'A2*')
  if (one === undefined || two === undefined) throw new Error('no heads')
  expect(ids(firstBatch([one, { ...two, commitLsn: one.commitLsn }]))).toBe('A1*')
  expect(ids(firstBatch([one, { ...two, commitLsn: one.commitLsn, ordinal: 1 }]))).toBe('A1* A2*')
})
