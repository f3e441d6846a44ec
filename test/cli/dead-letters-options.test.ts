import { execFileSync } from 'node:child_process'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { addSelectionOptions, requireSelection, type SelectionFlags } from '../../src/cli/dead-letters-options.ts'
import { printStranded, Stranded, shellWord } from '../../src/cli/dead-letters-stranded.ts'
import { Tally } from '../../src/cli/dead-letters-tally.ts'
import type { DeadLetter } from '../../src/dead-letter/dead-letter.ts'

function parse(...args: string[]): SelectionFlags {
  const command = addSelectionOptions(new Command('x').option('--all'))
    .exitOverride()
    .configureOutput({ writeErr() {} })
  return command.parse(args, { from: 'user' }).opts()
}

test('each filter narrows the selection; without any, --all must say so', () => {
  const flags = parse('--type', 'Order*', '--aggregate', 'order/4711', '--reason', 'event_nacked', '--replay', 'r1')
  expect(requireSelection(['e1', 'e2'], flags)).toEqual({
    eventIds: ['e1', 'e2'],
    type: 'Order*',
    aggregate: 'order/4711',
    reason: 'EVENT_NACKED',
    replayId: 'r1',
  })
  expect(requireSelection([], parse('--all'))).toEqual({})
  expect(() => requireSelection([], parse())).toThrow('expected event ids, filters or --all')
  expect(() => requireSelection(['e1'], parse('--all'))).toThrow('--all was given together')
})

test.each([
  ['2026-01-31', '2026-01-31T00:00Z'],
  ['2026-01-31T23:59', '2026-01-31T23:59Z'],
  ['2026-01-31 23:59:59.123456', '2026-01-31T23:59:59.123456Z'],
  ['2026-01-31T23:59:59+02:00', '2026-01-31T23:59:59+02:00'],
  ['2024-02-29', '2024-02-29T00:00Z'],
  ['0001-01-01 00:00+15:59', '0001-01-01T00:00+15:59'],
])('the time %s means %s', (text, meant) => {
  expect(parse('--since', text).since).toBe(meant)
})

test.each([
  'yesterday',
  '2026-13-01',
  '2026-02-31',
  '2026-02-29T12:00:00Z',
  '2026-00-10',
  '2026-01-00',
  '0000-01-01',
  '2026-01-31T25:00',
  '2026-01-31T24:00',
  '2026-01-31T23:60',
  '2026-01-31T23:59:60',
  '2026-01-31T23:59+16:00',
  '2026-01-31T23:59+02:60',
  "2026-01-31'; --",
  '1',
  '',
])('%j is no time', (text) => {
  expect(() => parse('--until', text)).toThrow('expected an ISO 8601 time')
})

const letter: DeadLetter = {
  id: '1',
  commitLsn: 1n,
  ordinal: 0,
  committedAt: null,
  eventId: 'e1',
  aggregateType: null,
  aggregateId: null,
  aggregateKey: null,
  type: null,
  exchange: null,
  routingKey: null,
  bodyBytes: 0,
  reasonCode: 'EVENT_NACKED',
  reasonText: '',
  attempts: 5,
  firstFailedAt: '',
  lastFailedAt: '',
  state: 'parked',
  replayId: null,
  isAggregateParked: false,
}

function terminal(isTTY: boolean) {
  let err = ''
  const stream = { write: (text: string) => (err += text), isTTY }
  const context = {
    env: {},
    cwd: '/',
    stdout: stream,
    stderr: stream,
    scrub: (text: string) => text,
    log: undefined,
    tune: () => undefined,
  }
  return { context, said: () => err }
}

function tally(total: number, isTTY: boolean) {
  const { context, said } = terminal(isTTY)
  let now = 0
  return { counts: new Tally(context, total, () => now), said, wait: (ms: number) => (now += ms) }
}

test('progress is a bar on a terminal, which makes way for a line', () => {
  const { counts, said, wait } = tally(4, true)
  wait(150)
  counts.add(letter, { kind: 'delivered' })
  expect(said()).toBe(`\r[${'#'.repeat(8)}${'.'.repeat(22)}] 1 of 4\u001b[K`)
  counts.finish(0, false)
  expect(said().endsWith('\r\u001b[2K1 delivered, 0 failed again\n')).toBe(true)
})

test('elsewhere it is a line every few seconds; what fails again is named, at most 100 times', () => {
  const { counts, said, wait } = tally(300, false)
  const failed = { kind: 'failed', attempts: 1, refusal: { code: 'EVENT_NACKED', text: 'full' } } as const
  for (let n = 0; n < 150; n++) counts.add(letter, failed)
  wait(5001)
  counts.add(letter, { kind: 'delivered' })
  counts.add(letter, { kind: 'delivered' })
  counts.finish(150 + 9, false)
  const lines = said().trim().split('\n')
  expect(lines.slice(0, 1)).toEqual(['failed again: event e1: EVENT_NACKED: full'])
  expect(lines.slice(100)).toEqual([
    '151 of 300',
    '2 delivered, 150 failed again, 9 wait (behind another event, or taken by somebody)',
  ])
  expect(counts.facts).toMatchObject({ delivered: 2, failedAgain: 150, waiting: 9 })
})

test('where PostgreSQL cannot be asked, every aggregate that was touched is named; many get one command', () => {
  const { context, said } = terminal(false)
  const stranded = new Stranded()
  printStranded(context, stranded.suspects, 'may still be parked')
  expect(said()).toBe('')
  const touch = (n: number) =>
    stranded.note({
      ...letter,
      isAggregateParked: true,
      aggregateKey: `k${n}`,
      aggregateType: 'order',
      aggregateId: `${n}`,
    })
  stranded.note({ ...letter, aggregateKey: 'free', aggregateType: 'order', aggregateId: 'free' })
  touch(1)
  printStranded(context, stranded.suspects, 'may still be parked')
  expect(said()).toMatch(/^events of an aggregate may still be parked.*:\n {2}wal2rabbit .* --aggregate order\/1\n$/)
  for (let n = 1; n <= 21; n++) touch(n)
  expect(stranded.suspects).toEqual({ aggregates: 21, run: ['wal2rabbit dead-letters retry --reason EVENT_PARKED'] })
})

test.each(['order/4711', "o'brien & sons/$HOME", '', 'a\nb\u001b[31m\\', 'ü/😀\u200b'])(
  'the shell reads %j as it is',
  (text) => {
    const word = shellWord(text)
    expect(word).not.toMatch(/\p{C}/u)
    expect(
      execFileSync('bash', ['--norc', '-c', `printf %s ${word}`], {
        env: { LC_ALL: 'C.UTF-8', SHLVL: '1' },
      }).toString(),
    ).toBe(text)
  },
)
