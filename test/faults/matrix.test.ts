import { describe, expect, test } from 'vitest'
import { isFaultId, matrix } from './matrix.ts'
import { readOptions } from './options.ts'
import { cellsOf, mergePage, tableOf } from './report.ts'
import { countBrokerLosses } from './rig/bridge.ts'
import type { Row } from './row.ts'
import { sumFigures } from './row.ts'
import { rows } from './rows/index.ts'
import type { RowResult } from './run-row.ts'

describe('the rows', () => {
  test('every fault of the matrix has one', () => {
    const covered = new Set<string>(rows.map(({ id }) => id))
    expect(Object.keys(matrix).filter((id) => !covered.has(id))).toEqual([])
  })

  test('expect what the matrix says of their fault', () => {
    expect(rows.filter(({ id, expect: answer }) => !matrix[id].expect.some((each) => each === answer))).toEqual([])
  })

  test('have titles of their own: the table is merged by them', () => {
    const keys = rows.map(({ id, title }) => `${id} ${title}`)
    expect(keys.filter((key, n) => keys.indexOf(key) !== n)).toEqual([])
  })
})

const figures = { runs: 3, events: 1234, lost: 0, outOfOrder: 0, repeated: 12, recovery_ms: 1234, violations: [] }
const row = (id: Row['id'], title: string): Row => ({ id, title, expect: 'R', run: async () => figures })
const result = (id: Row['id'], title: string, more: Partial<RowResult> = {}): RowResult => ({
  row: row(id, title),
  seed: 7,
  figures,
  failures: [],
  seconds: 1,
  folder: undefined,
  ...more,
})

describe('the page', () => {
  const facts = { command: 'npm run faults', seed: 7, date: '2026-01-01', versions: 'PostgreSQL 15, RabbitMQ 3' }
  const order = [row('F01', 'a | b'), row('F02', 'c'), row('F03', 'd')]

  test('shows figures in a readable form', () => {
    expect(cellsOf(result('F01', 'a | b')).join(' ; ')).toBe(
      'F01 ; a \\| b ; R ; 3 ; 1,234 ; 0 ; 0 ; 12 ; 1.2 s ; passed ;  ; 7',
    )
  })

  test('keeps the last result of rows that were not run, in the order of the matrix', () => {
    const first = mergePage('', [result('F02', 'c'), result('F01', 'a | b')], order, facts)
    const second = mergePage(first, [result('F02', 'c', { seed: 8, failures: ['I1: lost'] })], order, facts)
    const lines = second.split('\n').filter((line) => line.startsWith('| F'))
    expect(lines).toEqual([
      tableOf([cellsOf(result('F01', 'a | b'))]).split('\n')[2],
      tableOf([cellsOf(result('F02', 'c', { seed: 8, failures: ['I1: lost'] }))]).split('\n')[2],
    ])
    expect(lines[1]).toContain('| FAILED |')
  })

  test('drops rows that are no longer there', () => {
    const first = mergePage('', [result('F09', 'gone')], [...order, row('F09', 'gone')], facts)
    expect(first).toContain('| F09 |')
    expect(mergePage(first, [], order, facts)).not.toContain('| F09 |')
  })
})

test('figures of several scenes add up, and the longest recovery counts', () => {
  const sum = sumFigures([figures, { ...figures, recovery_ms: null }, { ...figures, recovery_ms: 5000 }], 'a note')
  expect(sum).toMatchObject({ runs: 9, events: 3702, repeated: 36, recovery_ms: 5000, note: 'a note' })
})

describe('the command line', () => {
  test('reads rows, area, seed, runs and a soak', () => {
    expect(readOptions(['--row', 'F50,F51', '--seed', '5', '--runs', '2'])).toMatchObject({
      ids: ['F50', 'F51'],
      seed: 5,
      runs: 2,
      soak_ms: undefined,
    })
    expect(readOptions(['--soak', '30m']).soak_ms).toBe(1_800_000)
    expect(readOptions(['--area', 'network', '--quick'])).toMatchObject({ area: 'network', quick: true })
  })

  test.each([
    ['--row', 'F99'],
    ['--area', 'moon'],
    ['--seed', '-'],
    ['--soak', '10'],
    ['--runs', 'many'],
  ])('refuses %s %s', (...args) => {
    expect(() => readOptions(args)).toThrow(RangeError)
  })

  test('knows the ids of the matrix only', () => {
    expect([isFaultId('F01'), isFaultId('F10'), isFaultId('toString')]).toEqual([true, false, false])
  })
})

test('lost connections to the broker are counted in the log, start by start', () => {
  const line = (state: string) => `{"level":"info","sink":"${state}","msg":"RabbitMQ: ${state}"}\n`
  const start = '{"msg":"started by the rig"}\n'
  const lines = (...states: string[]) => start + states.map(line).join('')
  expect(countBrokerLosses(lines('connecting', 'open'))).toBe(0)
  expect(countBrokerLosses(lines('connecting', 'open', 'blocked', 'open', 'connecting', 'failing', 'open'))).toBe(1)
  // Killed while connected: the next process does not count it.
  expect(countBrokerLosses(lines('connecting', 'open') + lines('connecting', 'open', 'connecting'))).toBe(1)
})
