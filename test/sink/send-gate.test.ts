import { expect, test } from 'vitest'
import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import { SendGate } from '../../src/sink/send-gate.ts'
import type { Refusal } from '../../src/sink/sink.ts'
import { pushTransaction, type RowWish } from './window-rows.ts'

const nacked: Refusal = { code: 'EVENT_NACKED', text: 'nack' }
const unroutable: Refusal = { code: 'EVENT_UNROUTABLE', text: 'returned' }

function stage(wish: Partial<RowWish> = {}) {
  const window = new ConfirmWindow({ messages: 100, bytes: 1e6 })
  pushTransaction(window, 0x10n, 4, () => wish)
  const gate = new SendGate({ attempts: 2, initialDelay: 100, maxDelay: 1000 }, () => 1)
  const next = (now = 0) => gate.next(window.nextUnsent()!, window.inFlight, now)
  const send = (): WindowRow => {
    const row = window.nextUnsent()!
    window.sent(row, 0)
    return row
  }
  const fail = (row: WindowRow, refusal: Refusal, now: number) => {
    window.fail(row)
    gate.failed(row, refusal, now)
  }
  return { window, gate, next, send, fail }
}

test('normally everything is sent as a pipeline', () => {
  const { next, send } = stage()
  for (let i = 0; i < 4; i++) {
    expect(next()).toEqual({ kind: 'send' })
    send()
  }
})

// The broker may close the channel for it as well as for the row that is being looked at.
test('nothing goes alone while a publish that a reset forgot has no answer', () => {
  const { window, gate, next, send } = stage()
  send()
  gate.hunt(7)
  window.reset({ lsn: 0x08n, partial: null })
  pushTransaction(window, 0x10n, 2)
  expect(next()).toEqual({ kind: 'wait', until: undefined })
  window.answer(1, false, () => {})
  expect(next()).toEqual({ kind: 'send' })
})

test('after a failure nothing is sent before the back-off is over', () => {
  const { next, send, fail } = stage()
  fail(send(), nacked, 1000)
  expect(next(1000)).toEqual({ kind: 'wait', until: 1100 })
  expect(next(1099)).toEqual({ kind: 'wait', until: 1100 })
  expect(next(1100)).toEqual({ kind: 'send' })
})

test('the last of several failures opens the gate', () => {
  const { next, send, fail } = stage()
  const [first, second] = [send(), send()]
  fail(second, nacked, 1050)
  fail(first, nacked, 1000)
  expect(next(1100)).toEqual({ kind: 'wait', until: 1150 })
})

test('a row that has used up its attempts is to be decided on', () => {
  const { next, send, fail } = stage()
  fail(send(), nacked, 0)
  fail(send(), nacked, 200)
  expect(next(200)).toEqual({ kind: 'decide', refusal: nacked })
})

test('a row that this side refused is to be decided on without being sent', () => {
  const refusal: Refusal = { code: 'EVENT_INVALID', text: 'bad' }
  expect(stage({ refusal }).next()).toEqual({ kind: 'decide', refusal })
})

test('a held row waits for its time, goes alone, and holds again when it fails', () => {
  const { window, gate, next, send, fail } = stage()
  send()
  const younger = send()
  window.channelLost()
  const row = send()
  fail(row, nacked, 0)
  fail(send(), nacked, 0)
  gate.hold(row, nacked, 30_000)
  expect(gate.held?.row).toBe(row)
  expect(next(29_999)).toEqual({ kind: 'wait', until: 30_000 })
  window.sent(younger, 0)
  expect(next(30_000)).toEqual({ kind: 'wait', until: undefined })
  window.settle(younger)
  expect(next(30_000)).toEqual({ kind: 'send' })
  expect(send()).toBe(row)
  expect(next(30_001)).toEqual({ kind: 'wait', until: undefined })
  fail(row, nacked, 30_002)
  expect(next(30_002)).toEqual({ kind: 'decide', refusal: nacked })
  gate.hold(row, nacked, 60_000)
  expect(next(30_003)).toEqual({ kind: 'wait', until: 60_000 })
})

test('a held row that settles lets go', () => {
  const { window, gate, next, send } = stage()
  const row = window.nextUnsent()!
  gate.hold(row, nacked, 10)
  expect(next(10)).toEqual({ kind: 'send' })
  send()
  window.settle(row)
  expect(gate.held).toBeUndefined()
  expect(next(10)).toEqual({ kind: 'send' })
})

test('a held row that this side refused is decided on again, never sent', () => {
  const refusal: Refusal = { code: 'EVENT_TOO_LARGE', text: 'big' }
  const { window, gate, next } = stage({ refusal })
  gate.hold(window.nextUnsent()!, refusal, 100)
  expect(next(50)).toEqual({ kind: 'wait', until: 100 })
  expect(next(100)).toEqual({ kind: 'decide', refusal })
})

test('rows older than the held one go on', () => {
  const { window, gate, next, send } = stage()
  const older = send()
  gate.hold(window.nextUnsent()!, nacked, 1000)
  window.channelLost()
  expect(window.nextUnsent()).toBe(older)
  expect(next(0)).toEqual({ kind: 'send' })
})

test('while a culprit is looked for, rows go one by one, and those behind the search as a pipeline', () => {
  const { window, gate, next, send } = stage()
  gate.hunt(window.find(0x10n, 1)!.seq)
  for (let i = 0; i < 2; i++) {
    expect(next()).toEqual({ kind: 'send' })
    const row = send()
    expect(gate.alone).toBe(row)
    expect(next()).toEqual({ kind: 'wait', until: undefined })
    window.settle(row)
    expect(gate.alone).toBeUndefined()
  }
  expect(next()).toEqual({ kind: 'send' })
  send()
  expect(gate.alone).toBeUndefined()
  expect(next()).toEqual({ kind: 'send' })
})

test('a row that is to block is never given up; it is tried ever more slowly, alone', () => {
  const { gate, next, send, fail } = stage({ unroutable: 'block' })
  let now = 0
  for (const delay of [100, 200, 400, 800, 1000, 1000]) {
    fail(send(), unroutable, now)
    expect(next(now)).toEqual({ kind: 'wait', until: now + delay })
    now += delay
    expect(next(now)).toEqual({ kind: 'send' })
  }
  const row = send()
  expect(gate.alone).toBe(row)
  expect(gate.blocking).toBe(row)
})

test('a row that is to block is given up when it is nacked', () => {
  const { gate, next, send, fail } = stage({ unroutable: 'block' })
  fail(send(), nacked, 0)
  fail(send(), nacked, 0)
  expect(next(0)).toEqual({ kind: 'decide', refusal: nacked })
  expect(gate.blocking).toBeUndefined()
})
