import { expect, test } from 'vitest'
import type { Refusal } from '../../src/sink/sink.ts'
import { gateStage, go, nacked, unroutable, waitForAnswer } from './gate-stage.ts'

test('normally everything is sent as a pipeline', () => {
  const { next, send } = gateStage()
  for (let i = 0; i < 4; i++) {
    expect(next()).toEqual(go)
    send()
  }
})

test('after a failure nothing is sent before the back-off is over', () => {
  const { next, send, fail } = gateStage()
  fail(send(), nacked, 1000)
  expect(next(1000)).toEqual({ kind: 'wait', until: 1100 })
  expect(next(1099)).toEqual({ kind: 'wait', until: 1100 })
  expect(next(1100)).toEqual(go)
})

test('the last of several failures opens the gate', () => {
  const { next, send, fail } = gateStage()
  const [first, second] = [send(), send()]
  fail(second, nacked, 1050)
  fail(first, nacked, 1000)
  expect(next(1100)).toEqual({ kind: 'wait', until: 1150 })
})

test('a row that has used up its attempts is kept, and what is behind it goes on', () => {
  const { window, unsent, next, send, fail } = gateStage()
  fail(send(), nacked, 0)
  fail(send(), nacked, 200)
  expect(next(200)).toEqual({ kind: 'keep', refusal: nacked })
  window.keep(unsent(), false)
  expect(next(200)).toEqual(go)
  expect(send().ordinal).toBe(1)
})

test('a row that this side refused is kept without being sent, also while others back off', () => {
  const refusal: Refusal = { code: 'EVENT_INVALID', text: 'bad' }
  const { window, unsent, next, send, fail } = gateStage((n) => (n === 1 ? { refusal } : {}))
  const row = send()
  expect(next()).toEqual({ kind: 'keep', refusal })
  window.keep(unsent(), false)
  fail(row, nacked, 0)
  expect(next(0)).toEqual({ kind: 'wait', until: 100 })
})

test('a row of a parked aggregate is kept without being sent, whatever else is the matter with it', () => {
  const isParked = (_type: string | null, id: string | null) => id === 'a'
  const wish = (n: number) => ({ aggregateType: 'order', aggregateId: n === 1 ? 'b' : 'a' })
  const { window, unsent, next, send } = gateStage(wish, { order: 'aggregate', isParked })
  expect(next()).toMatchObject({ kind: 'keep', refusal: { code: 'EVENT_PARKED' } })
  expect(window.keep(unsent(), true).map(({ ordinal }) => ordinal)).toEqual([0, 2, 3])
  expect(next()).toEqual(go)
  expect(send().ordinal).toBe(1)
})

test('in the order of aggregates a failed row waits alone, until its own time', () => {
  const wish = (n: number) => ({ aggregateType: 'order', aggregateId: n < 2 ? 'a' : `b${n}` })
  const { window, gate, next, send, fail, unsent } = gateStage(wish, { order: 'aggregate' })
  const first = send()
  expect(unsent().ordinal).toBe(2)
  fail(first, nacked, 0)
  const second = send()
  expect(second.ordinal).toBe(2)
  fail(second, nacked, 50)
  expect([next(50), unsent().ordinal]).toEqual([go, 3])
  send()
  expect([gate.wakeDue(99), window.nextUnsent()]).toEqual([100, undefined])
  expect([gate.wakeDue(100), unsent()]).toEqual([150, first])
  send()
  expect([gate.wakeDue(150), unsent()]).toEqual([undefined, second])
})

test('a row that waits and that a reset takes away wakes nothing', () => {
  const { window, gate, send, fail } = gateStage(() => ({}), { order: 'aggregate' })
  fail(send(), nacked, 0)
  window.reset({ lsn: 0x08n, partial: null })
  expect(gate.wakeDue(100)).toBeUndefined()
  expect(window.nextUnsent()).toBeUndefined()
})

// The broker may close the channel for it as well as for the row that is being looked at.
test('nothing goes alone while a publish that a reset forgot has no answer', () => {
  const { window, gate, next, send, push } = gateStage()
  send()
  gate.hunt(7)
  window.reset({ lsn: 0x08n, partial: null })
  push(0x10n, 2)
  expect(next()).toEqual(waitForAnswer)
  window.answer(1, false, () => {})
  expect(next()).toEqual(go)
})

test('while a culprit is looked for, rows go one by one, and those behind the search as a pipeline', () => {
  const { window, gate, next, send } = gateStage()
  const second = window.find(0x10n, 1)
  gate.hunt(second?.seq ?? -1)
  for (let i = 0; i < 2; i++) {
    expect(next()).toEqual(go)
    const row = send()
    expect(gate.alone).toBe(row)
    expect(next()).toEqual(waitForAnswer)
    window.settle(row)
    expect(gate.alone).toBeUndefined()
  }
  expect(next()).toEqual(go)
  send()
  expect(gate.alone).toBeUndefined()
  expect(next()).toEqual(go)
})

test.each(['commit', 'aggregate'] as const)('in the order %s a search sends rows one by one', (order) => {
  const { gate, next, send } = gateStage((n) => ({ aggregateType: 'order', aggregateId: `a${n}` }), { order })
  gate.hunt(3)
  expect(next()).toEqual(go)
  send()
  expect(next()).toEqual(waitForAnswer)
})

test('a row that is to block is never given up; it is tried ever more slowly, and nothing passes it', () => {
  const { gate, next, send, fail } = gateStage(() => ({ unroutable: 'block' }))
  let now = 0
  for (const delay of [100, 200, 400, 800, 1000, 1000]) {
    fail(send(), unroutable, now)
    expect(next(now)).toEqual({ kind: 'wait', until: now + delay })
    now += delay
    expect(next(now)).toEqual(go)
  }
  const row = send()
  expect(row.ordinal).toBe(0)
  expect(next(now)).toEqual(waitForAnswer)
  expect(gate.alone).toBe(row)
  expect(gate.blocking).toBe(row)
})

test('in the order of aggregates a row that is to block holds back its own aggregate, however often it comes back', () => {
  const wish = (n: number) => ({
    aggregateType: 'order',
    aggregateId: n < 2 ? 'a' : `b${n}`,
    unroutable: 'block' as const,
  })
  const { gate, next, send, fail, confirm, unsent } = gateStage(wish, { order: 'aggregate' })
  const row = send()
  let now = 0
  for (const delay of [100, 200, 400, 800, 1000, 1000]) {
    fail(row, unroutable, now)
    expect([next(now), unsent().ordinal]).toEqual([go, 2])
    now += delay
    gate.wakeDue(now)
    expect([next(now), unsent()]).toEqual([go, row])
    send()
  }
  expect(gate.blocking).toBe(row)
  confirm(row)
  expect([gate.blocking, unsent().ordinal]).toEqual([undefined, 1])
})

test('a row that is to block is given up when it is nacked', () => {
  const { window, gate, next, send, fail, unsent } = gateStage(() => ({ unroutable: 'block' }))
  fail(send(), nacked, 0)
  fail(send(), nacked, 0)
  expect(next(0)).toEqual({ kind: 'keep', refusal: nacked })
  window.keep(unsent(), false)
  expect(gate.blocking).toBeUndefined()
})

test('what a reset takes away blocks no longer', () => {
  const { window, gate, send, fail } = gateStage(() => ({ unroutable: 'block' }))
  fail(send(), unroutable, 0)
  expect(gate.blocking?.ordinal).toBe(0)
  window.reset({ lsn: 0x08n, partial: null })
  expect(gate.blocking).toBeUndefined()
})
