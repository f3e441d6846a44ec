import { expect, test } from 'vitest'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

test.each([
  ['200ms', 200],
  ['30s', 30_000],
  ['1.5s', 1500],
  ['5m', 300_000],
  ['24h', 86_400_000],
  ['7d', 604_800_000],
  ['250', 250],
  [250, 250],
  [0, 0],
  ['0', 0],
])('the duration %j is %d ms', (written, milliseconds) => {
  expect(parseDuration(written)).toBe(milliseconds)
})

test.each(['', 's', '30 s', '-1s', '1e3', '30S', '5min', '1.0005ms', 'NaN', Number.NaN, -5, 1.5, '9999999999999999d'])(
  '%j is no duration',
  (written) => {
    expect(parseDuration(written)).toBeUndefined()
  },
)

test.each([
  ['32MiB', 33_554_432],
  ['1GiB', 1_073_741_824],
  ['10MB', 10_000_000],
  ['64kB', 64_000],
  ['64KB', 64_000],
  ['64KiB', 65_536],
  ['512B', 512],
  ['512', 512],
  [512, 512],
])('the size %j is %d bytes', (written, bytes) => {
  expect(parseSize(written)).toBe(bytes)
})

test.each(['', 'MiB', '32mib', '32Mb', '-1MB', '1XB', '0.5B', 1.5])('%j is no size', (written) => {
  expect(parseSize(written)).toBeUndefined()
})

test('amounts are written in the largest unit that holds them whole', () => {
  expect([100, 1000, 90_000, 3_600_000, 86_400_000, 0].map(formatDuration)).toEqual([
    '100ms',
    '1s',
    '90s',
    '1h',
    '1d',
    '0',
  ])
  expect([1, 1024, 33_554_432, 1500].map(formatSize)).toEqual(['1B', '1KiB', '32MiB', '1500B'])
})
