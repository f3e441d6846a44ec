import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EventTimeReader } from '../../src/routing/event-time.ts'

test.each([
  ['2026-01-31 23:59:59.123456+00', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['2026-01-31 23:59:59+00', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['2026-01-31 23:59:59.5', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['2026-02-01 01:59:59+02', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['2026-01-31 18:29:59-05:30', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['2026-02-01 00:19:31+00:19:32', Date.UTC(2026, 0, 31, 23, 59, 59) / 1000],
  ['1970-01-01 00:00:00+00', 0],
  ['10000-01-01 00:00:00+00', Date.UTC(10000, 0, 1) / 1000],
])('the time %s is read in whole seconds', (text, expected) => {
  expect(new EventTimeReader().seconds(text)).toBe(expected)
})

test.each([
  'infinity',
  '-infinity',
  '0044-03-15 12:00:00+00 BC',
  '1969-12-31 23:59:59+00',
  '1970-01-01 00:00:00+02',
  '0070-01-01 00:00:00+00',
  'yesterday',
  '',
])('the time %j, which an AMQP timestamp cannot say, is null', (text) => {
  expect(new EventTimeReader().seconds(text)).toBeNull()
})

test('a remembered second answers only for its own second', () => {
  const reader = new EventTimeReader()
  const first = reader.seconds('2026-01-31 23:59:58.9+00')!
  expect(reader.seconds('2026-01-31 23:59:58.1+00')).toBe(first)
  expect(reader.seconds('2026-01-31 23:59:58+00')).toBe(first)
  expect(reader.seconds('2026-01-31 23:59:59.1+00')).toBe(first + 1)
  expect(reader.seconds('2026-01-31 23:59:59.1+01')).toBe(first + 1 - 3600)
  expect(reader.seconds('2026-01-31 23:59:59.1')).toBe(first + 1)
})

test('any series of times reads as it would one by one', () => {
  const time = fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
  fc.assert(
    fc.property(fc.array(time), (times) => {
      const reader = new EventTimeReader()
      for (const value of times.flatMap((each) => [each, each])) {
        const text = value.toISOString().replace('T', ' ').replace('Z', '+00')
        expect(reader.seconds(text)).toBe(Math.floor(value.getTime() / 1000))
      }
    }),
  )
})
