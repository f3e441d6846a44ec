import prom from 'prom-client'
import { expect, test } from 'vitest'
import { LatencyHistogram, latencyBounds } from '../../src/admin/latency-histogram.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { parseExposition } from './exposition.ts'

test('a batch counts as that many observations of one duration', () => {
  const histogram = new LatencyHistogram([0.1, 1])
  histogram.observe(0.05, 3)
  histogram.observe(0.5, 2)
  histogram.observe(7)
  const samples = parseExposition(histogram.exposition('latency_seconds', 'A latency.'))
  expect(Object.fromEntries(samples)).toEqual({
    'latency_seconds_bucket{le="0.1"}': 3,
    'latency_seconds_bucket{le="1"}': 5,
    'latency_seconds_bucket{le="+Inf"}': 6,
    latency_seconds_sum: expect.closeTo(8.15),
    latency_seconds_count: 6,
  })
  expect(histogram.count).toBe(6)
})

test('a duration equal to a bound belongs to the bucket of that bound', () => {
  const histogram = new LatencyHistogram([0.1, 1])
  histogram.observe(0.1)
  expect(histogram.exposition('h', 'H.')).toContain('h_bucket{le="0.1"} 1')
})

test('a clock that goes back neither throws nor lowers the sum', () => {
  const histogram = new LatencyHistogram()
  histogram.observe(-5)
  histogram.observe(Number.NaN)
  const samples = parseExposition(histogram.exposition('h', 'H.'))
  expect(samples.get('h_sum')).toBe(0)
  expect(samples.get('h_count')).toBe(2)
})

test('it agrees with the histogram of prom-client, number for number', async () => {
  const random = new SeededRandom(20260131)
  const registry = new prom.Registry()
  const peer = new prom.Histogram({ name: 'h', help: 'H.', buckets: [...latencyBounds], registers: [registry] })
  const histogram = new LatencyHistogram()
  for (let i = 0; i < 500; i++) {
    const seconds = 10 ** (random.next() * 6 - 4)
    histogram.observe(seconds)
    peer.observe(seconds)
  }
  expect(parseExposition(histogram.exposition('h', 'H.'))).toEqual(parseExposition(await registry.metrics()))
})

test('bounds that do not rise are refused', () => {
  expect(() => new LatencyHistogram([1, 1])).toThrow('not the bounds of a histogram: 1, 1')
})
