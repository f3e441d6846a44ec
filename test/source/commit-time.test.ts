import { expect, test } from 'vitest'
import { commitTime, parseCommitTime } from '../../src/source/commit-time.ts'

function fromWire(microseconds: bigint) {
  const wire = Buffer.alloc(8)
  wire.writeBigInt64BE(microseconds)
  return commitTime(wire.readInt32BE(0), wire.readUInt32BE(4))
}

test.each([
  [0n, '2000-01-01T00:00:00.000000Z'],
  [1n, '2000-01-01T00:00:00.000001Z'],
  [999_999n, '2000-01-01T00:00:00.999999Z'],
  [-1n, '1999-12-31T23:59:59.999999Z'],
  [823_219_199_123_456n, '2026-01-31T23:59:59.123456Z'],
  [823_219_199_123_456n + 876_544n, '2026-02-01T00:00:00.000000Z'],
  [0x0003_03d3_b3ae_ed9fn, '2026-11-22T03:18:37.700511Z'],
])('%s microseconds after the epoch of PostgreSQL are %s', (microseconds, text) => {
  const time = fromWire(microseconds)
  expect(time.text).toBe(text)
  expect(time.seconds).toBe(Math.floor(Date.parse(text.replace(/\d{3}Z/, 'Z')) / 1000))
})

test('the printed form is read with its microseconds, however many digits PostgreSQL left', () => {
  expect(parseCommitTime('2026-01-31 23:59:59.12+00')).toEqual({
    text: '2026-01-31T23:59:59.120000Z',
    seconds: 1_769_903_999,
  })
  expect(parseCommitTime('2026-01-31 23:59:59+00')?.text).toBe('2026-01-31T23:59:59.000000Z')
})

test('a printed time in another zone is refused rather than misread', () => {
  expect(parseCommitTime('2026-01-31 23:59:59.12+02')).toBeUndefined()
})
