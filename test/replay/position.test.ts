import { expect, test } from 'vitest'
import { utcMicroseconds } from '../../src/base/iso-time.ts'
import { checkMarkName, parsePosition } from '../../src/replay/position.ts'

test.each([
  ['16/B374D848', { kind: 'lsn', lsn: 0x16b374d848n }],
  ['0/0', { kind: 'lsn', lsn: 0n }],
  ['ab/cd', { kind: 'lsn', lsn: 0xab000000cdn }],
  ['2026-01-31', { kind: 'time', time: '2026-01-31T00:00:00.000000Z' }],
  ['2026-01-31T23:59:59.123456Z', { kind: 'time', time: '2026-01-31T23:59:59.123456Z' }],
  ['2026-01-31 23:59+02:00', { kind: 'time', time: '2026-01-31T21:59:00.000000Z' }],
  ['event:4711', { kind: 'event', id: '4711' }],
  ['event:event:x', { kind: 'event', id: 'event:x' }],
  ['before-release', { kind: 'mark', name: 'before-release' }],
])('%s is read', (text, position) => {
  expect(parsePosition(text, '--from')).toEqual(position)
})

test.each(['', 'event:', '16/', '16/B374D848/1', '123456789/0', '-x', '1mark', 'a b', 'g/b', '2026-02-31', 'naïve'])(
  '%j is refused with what was expected',
  (text) => {
    expect(() => parsePosition(text, '--from')).toThrow(
      /^--from is ".*", expected an LSN .*, an ISO 8601 time .*, event:/,
    )
  },
)

test('no name of a mark is another form of P', () => {
  for (const name of ['a', 'Release-1.2_x', 'z'.repeat(100)]) {
    checkMarkName(name)
    expect(parsePosition(name, '--to')).toEqual({ kind: 'mark', name })
  }
  for (const name of ['event:x', '16/0', '2026-01-31', '', 'z'.repeat(101)]) {
    expect(() => checkMarkName(name)).toThrow('the name of the mark is')
  }
})

test('times sort as text in the form of commit times', () => {
  const times = ['2026-01-31T23:59:59.1Z', '2026-01-31T23:59:59.12Z', '2026-02-01T00:00:59+00:01', '2026-02-01'].map(
    (text) => utcMicroseconds(text)!,
  )
  expect(times).toEqual([
    '2026-01-31T23:59:59.100000Z',
    '2026-01-31T23:59:59.120000Z',
    '2026-01-31T23:59:59.000000Z',
    '2026-02-01T00:00:00.000000Z',
  ])
})
