import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import { pushTransaction, windowRow } from './window-rows.ts'

const wide = { messages: 100, bytes: 1e6 }
const settled = (lsn: bigint, commitLsn?: bigint, rows = 0) => ({
  lsn,
  partial: commitLsn === undefined ? null : { commitLsn, rows },
})

/** Sends all that the window gives; the delivery tags are 1, 2, … on a fresh window. */
function sendAll(window: ConfirmWindow): WindowRow[] {
  const sent: WindowRow[] = []
  for (let row = window.nextUnsent(); row !== undefined; row = window.nextUnsent()) {
    window.sent(row, 0)
    sent.push(row)
  }
  return sent
}

const settleAll = (window: ConfirmWindow) => (row: WindowRow) => window.settle(row)

test('what a reset forgot takes up the limits until it is answered or the channel is lost', () => {
  const window = new ConfirmWindow({ messages: 2, bytes: 1_000_000 })
  for (const [count, free] of [
    [1, () => window.answer(2, true, () => {})] as const,
    [2, () => window.channelLost()] as const,
  ]) {
    pushTransaction(window, 0x10n, 2)
    expect(sendAll(window)).toHaveLength(2)
    window.reset(settled(0x08n))
    pushTransaction(window, 0x10n, 2)
    expect(window.nextUnsent()).toBeUndefined()
    free()
    expect([count, window.inFlight, window.nextUnsent()?.ordinal]).toEqual([count, 0, 0])
    window.reset(settled(0x08n))
  }
})

test('rows count as unstored from their settling until they are marked, and those before a reset do not', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 3)
  sendAll(window)
  window.answer(2, true, settleAll(window))
  const { settledRows } = window
  window.answer(3, false, settleAll(window))
  window.markStored(settledRows)
  expect([window.settledRows, window.unstoredRows]).toEqual([3, 1])
  window.reset(settled(0x08n))
  expect([window.settledRows, window.unstoredRows]).toEqual([3, 0])
})

test('positions that were handed out or taken in do not change with the window', () => {
  const window = new ConfirmWindow(wide)
  const start = settled(0x08n, 0x10n, 1)
  window.reset(start)
  window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 1 }))
  const { received } = window
  window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 2 }))
  sendAll(window)
  window.answer(1, false, settleAll(window))
  const before = window.settled
  window.answer(2, false, settleAll(window))
  expect([start, received, before]).toEqual([
    settled(0x08n, 0x10n, 1),
    settled(0x08n, 0x10n, 2),
    settled(0x08n, 0x10n, 2),
  ])
})

test.each<[string, (window: ConfirmWindow) => void]>([
  ['a row of another transaction inside of one', (w) => w.pushRow(windowRow({ commitLsn: 0x30n, ordinal: 2 }))],
  ['a commit that ends below what was received', (w) => w.pushCommit(0x20n, 0x17n)],
  ['a row that is sent while it is in flight', (w) => [w.sent(w.head!, 0), w.sent(w.head!, 0)]],
])('%s breaks an invariant', (_what, breach) => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 1)
  window.pushRow(windowRow({ commitLsn: 0x20n, ordinal: 0 }))
  window.pushRow(windowRow({ commitLsn: 0x20n, ordinal: 1 }))
  expect(() => breach(window)).toThrow(BridgeError)
})

test('an empty transaction that commits below what was received breaks an invariant', () => {
  const window = new ConfirmWindow(wide)
  window.reset(settled(0x20n))
  expect(() => window.pushCommit(0x18n, 0x28n)).toThrow('out of order')
})

test('a tag that was answered once is not answered again, also behind one that waits', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 3)
  sendAll(window)
  expect(window.answer(2, false, settleAll(window))).toBe(true)
  expect(window.answer(2, false, settleAll(window))).toBe(false)
})

test('a row that was returned counts as not returned when it is sent again', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 1)
  const [row] = sendAll(window)
  row!.returned = true
  window.answer(1, false, (one) => window.fail(one))
  sendAll(window)
  expect(row!.returned).toBe(false)
})

test('messages alone make the window full as well', () => {
  const window = new ConfirmWindow({ messages: 4, bytes: 1e9 })
  pushTransaction(window, 0x10n, 3)
  expect(window.isFull).toBe(false)
  pushTransaction(window, 0x20n, 1)
  expect(window.isFull).toBe(true)
})

test('bytes alone make the window full, and keep it from having room', () => {
  const window = new ConfirmWindow({ messages: 100, bytes: 4000 })
  pushTransaction(window, 0x10n, 4, () => ({ body: 'x'.repeat(500) }))
  expect([window.isFull, window.hasRoom]).toEqual([true, false])
  sendAll(window)
  window.answer(1, false, settleAll(window))
  expect([window.isFull, window.hasRoom]).toEqual([false, false])
  window.answer(2, false, settleAll(window))
  expect([window.isFull, window.hasRoom]).toEqual([false, true])
})
