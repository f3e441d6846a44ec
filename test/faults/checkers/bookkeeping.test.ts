import { describe, expect, test } from 'vitest'
import { checkBounds } from './bounds.ts'
import { checkHalted, type HaltFacts } from './halted.ts'
import { change, range, witnessedRow } from './histories.ts'
import { checkAcknowledgedIsStored, checkOnlyForward } from './positions.ts'
import { checkSecrets } from './secrets.ts'
import { checkStoredIsSettled } from './stored-is-settled.ts'
import type { Violation } from './violation.ts'

const kinds = (violations: readonly Violation[]) => violations.map(({ invariant, count }) => `${invariant} ${count}`)

describe('I5, stored ≤ settled', () => {
  const witnessed = [...range(3).map(witnessedRow), { id: 'e3b', commitLsn: 300n, ordinal: 1 }]
  const facts = { when: 'kill 1', stored: { lsn: 250n, partial: null }, acknowledged: 150n, witnessed }
  const holding = (...ids: string[]) => ({ ...facts, isHeld: (id: string) => ids.includes(id) })

  test('holds when all below the stored position is in the queue', () => {
    expect(checkStoredIsSettled(holding('e1', 'e2'))).toEqual([])
  })

  test('fails for an event below the stored position that is nowhere', () => {
    expect(kinds(checkStoredIsSettled(holding('e1')))).toEqual(['I5 1'])
  })

  test('counts what the acknowledged position covers by itself', () => {
    expect(kinds(checkStoredIsSettled({ ...holding('e1', 'e2'), acknowledged: 350n }))).toEqual(['I5 2'])
    expect(kinds(checkStoredIsSettled(holding('e2')))).toEqual(['I5 1', 'I5 1'])
  })

  test('counts rows inside of the next transaction', () => {
    const stored = { lsn: 250n, partial: { commitLsn: 300n, rows: 1 } }
    expect(checkStoredIsSettled({ ...holding('e1', 'e2', 'e3'), stored })).toEqual([])
    expect(kinds(checkStoredIsSettled({ ...holding('e1', 'e2', 'e3b'), stored }))).toEqual(['I5 1'])
  })

  test('does not ask for a transaction that begins where the stored one ends', () => {
    expect(checkStoredIsSettled({ ...holding('e1', 'e2'), stored: { lsn: 300n, partial: null } })).toEqual([])
  })
})

describe('I6, acknowledged ≤ stored', () => {
  test('holds up to equality, and fails above', () => {
    expect(checkAcknowledgedIsStored([{ at: 0, acknowledged: 5n, stored: 5n }])).toEqual([])
    expect(kinds(checkAcknowledgedIsStored([{ at: 0, acknowledged: 6n, stored: 5n }]))).toEqual(['I6 1'])
  })
})

describe('I7, only forward', () => {
  test('holds when it moves forward or stays', () => {
    expect(checkOnlyForward([change(1, 1), change(2, 1), change(3, 2)])).toEqual([])
  })

  test('fails when it moves back', () => {
    expect(kinds(checkOnlyForward([change(1, 2), change(2, 1)]))).toEqual(['I7 1'])
  })

  test('fails when it moves back inside of a transaction, unless a new session dropped that position', () => {
    const inside = (rows: number) => ({ lsn: 150n, partial: { commitLsn: 200n, rows } })
    const at = (version: number, rows: number) => change(version, 1, { stored: inside(rows) })
    expect(checkOnlyForward([at(1, 4), at(2, 5)])).toEqual([])
    expect(kinds(checkOnlyForward([at(1, 4), at(2, 3)]))).toEqual(['I7 1'])
    expect(kinds(checkOnlyForward([at(1, 4), change(2, 1)]))).toEqual(['I7 1'])
    expect(checkOnlyForward([at(1, 4), change(2, 1, { epoch: 2n })])).toEqual([])
  })

  test('fails when a version or an epoch comes again', () => {
    expect(kinds(checkOnlyForward([change(2, 1), change(2, 2)]))).toEqual(['I7 1'])
    expect(kinds(checkOnlyForward([change(1, 1, { epoch: 2n }), change(2, 2)]))).toEqual(['I7 1'])
  })
})

describe('I8 and I10, bounds', () => {
  const shutdown = { invariant: 'I10', what: 'fast shutdown', limit: 5000 } as const

  test('hold at the limit, and fail above it', () => {
    expect(checkBounds([{ ...shutdown, value: 5000 }])).toEqual([])
    expect(kinds(checkBounds([{ ...shutdown, value: 5001 }]))).toEqual(['I10 1'])
    expect(kinds(checkBounds([{ invariant: 'I8', what: 'the broker is back', value: 9, limit: 8 }]))).toEqual(['I8 1'])
  })

  test('fail for a figure that is none', () => {
    expect(kinds(checkBounds([{ ...shutdown, value: Number.NaN }]))).toEqual(['I10 1'])
  })
})

describe('I9, fail closed', () => {
  const halted: HaltFacts = {
    expected: 'SLOT_MISSING',
    state: 'halted',
    code: 'SLOT_MISSING',
    remedy: 'Do this.',
    readiness: 503,
    acknowledgedBefore: 7n,
    acknowledgedAfter: 7n,
  }

  test('holds for a halt with code and remedy, with or without a slot', () => {
    expect(checkHalted(halted)).toEqual([])
    expect(checkHalted({ ...halted, acknowledgedBefore: undefined, acknowledgedAfter: undefined })).toEqual([])
  })

  test.each<[string, Partial<HaltFacts>]>([
    ['it goes on', { state: 'streaming' }],
    ['the code is another one', { code: 'UNKNOWN' }],
    ['there is no remedy', { remedy: '' }],
    ['it says that it is ready', { readiness: 200 }],
    ['it acknowledged something', { acknowledgedAfter: 8n }],
    ['it made the slot again', { acknowledgedBefore: undefined }],
  ])('fails when %s', (_what, wrong) => {
    expect(kinds(checkHalted({ ...halted, ...wrong }))).toEqual(['I9 1'])
  })
})

describe('I11, secrets', () => {
  test('fails for a secret in an output, and does not repeat it', () => {
    const outputs = [
      { where: 'log', text: 'connected to postgres://me:***@host' },
      { where: 'metrics', text: 'x{url="hunter2"} 1' },
    ]
    expect(checkSecrets(outputs, ['other'])).toEqual([])
    const [leak, ...more] = checkSecrets(outputs, ['other', 'hunter2'])
    expect(leak).toMatchObject({ invariant: 'I11', what: expect.stringContaining('secret 2 in metrics') })
    expect(leak?.what).not.toContain('hunter2')
    expect(more).toEqual([])
  })
})
