import { expect, test } from 'vitest'
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

test('the settled LSN is the end LSN of the last transaction of which every row is settled', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 2)
  pushTransaction(window, 0x20n, 1)
  sendAll(window)
  window.answer(3, false, settleAll(window))
  expect(window.settled).toEqual(settled(0n))
  window.answer(1, false, settleAll(window))
  expect(window.settled).toEqual(settled(0n, 0x10n, 1))
  window.answer(2, false, settleAll(window))
  expect(window.settled).toEqual(settled(0x28n))
})

test('a transaction whose commit is not yet in stays partial, however many rows settle', () => {
  const window = new ConfirmWindow(wide)
  window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 0 }))
  sendAll(window)
  window.answer(1, false, settleAll(window))
  expect(window.settled).toEqual(settled(0n, 0x10n, 1))
  window.pushCommit(0x10n, 0x18n)
  expect(window.settled).toEqual(settled(0x18n))
})

test('a transaction without rows and a keep-alive settle at once when nothing is before them', () => {
  const window = new ConfirmWindow(wide)
  window.pushCommit(0x10n, 0x18n)
  expect(window.settled).toEqual(settled(0x18n))
  window.pushIdle(0x30n)
  expect(window.settled).toEqual(settled(0x30n))
  window.pushIdle(0x20n)
  expect(window.settled).toEqual(settled(0x30n))
})

test('a keep-alive waits for the rows before it, and one inside a transaction is ignored', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 1)
  window.pushIdle(0x40n)
  window.pushIdle(0x50n)
  expect(window.settled).toEqual(settled(0n))
  sendAll(window)
  window.answer(1, false, settleAll(window))
  expect(window.settled).toEqual(settled(0x50n))
  window.pushRow(windowRow({ commitLsn: 0x60n, ordinal: 0 }))
  window.pushIdle(0x70n)
  expect(window.received).toEqual(settled(0x50n, 0x60n, 1))
})

test('the next commit LSN may equal the end LSN before it', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 1)
  pushTransaction(window, 0x18n, 1)
  sendAll(window)
  window.answer(2, true, settleAll(window))
  expect(window.settled).toEqual(settled(0x20n))
})

test.each([
  ['a row of an older transaction', { commitLsn: 0x08n, ordinal: 0 }],
  ['a first row that is not number 0', { commitLsn: 0x30n, ordinal: 1 }],
])('%s is refused', (_name, row) => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 1)
  expect(() => window.pushRow(windowRow(row))).toThrow('came out of order')
})

test('a gap in the rows of a transaction, and a commit of another one, are refused', () => {
  const window = new ConfirmWindow(wide)
  window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 0 }))
  expect(() => window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 2 }))).toThrow('came out of order')
  expect(() => window.pushRow(windowRow({ commitLsn: 0x20n, ordinal: 0 }))).toThrow('came out of order')
  expect(() => window.pushCommit(0x20n, 0x28n)).toThrow('ends another transaction')
})

test('resuming inside a transaction goes on with its next row and takes older commits as said before', () => {
  const window = new ConfirmWindow(wide)
  window.reset(settled(0x08n, 0x20n, 3))
  window.pushCommit(0x10n, 0x18n)
  expect(window.settled).toEqual(settled(0x08n, 0x20n, 3))
  window.pushRow(windowRow({ commitLsn: 0x20n, ordinal: 3 }))
  window.pushCommit(0x20n, 0x28n)
  sendAll(window)
  window.answer(1, false, settleAll(window))
  expect(window.settled).toEqual(settled(0x28n))
})

test('no more is in flight than the limits allow, but a single larger message passes alone', () => {
  const window = new ConfirmWindow({ messages: 3, bytes: 2000 })
  pushTransaction(window, 0x10n, 6, (n) => ({ body: 'x'.repeat(n === 3 ? 5000 : 100) }))
  expect(sendAll(window)).toHaveLength(3)
  expect(window.isFull).toBe(true)
  window.answer(2, true, settleAll(window))
  expect(sendAll(window)).toHaveLength(0)
  window.answer(3, true, settleAll(window))
  expect(sendAll(window).map(({ ordinal }) => ordinal)).toEqual([3])
  window.answer(4, true, settleAll(window))
  expect(sendAll(window).map(({ ordinal }) => ordinal)).toEqual([4, 5])
})

test('a failed row is next, before younger ones that were never sent', () => {
  const window = new ConfirmWindow({ messages: 2, bytes: 1e6 })
  pushTransaction(window, 0x10n, 4)
  sendAll(window)
  window.answer(1, false, (row) => window.fail(row))
  expect(window.nextUnsent()).toMatchObject({ ordinal: 0, attempts: 1 })
})

test('a lost channel makes everything in flight unsent again, in order, and starts the tags anew', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 4)
  sendAll(window)
  window.answer(2, false, settleAll(window))
  window.channelLost()
  expect(window.inFlight).toBe(0)
  expect(window.answer(1, false, settleAll(window))).toBe(false)
  expect(sendAll(window).map(({ ordinal, attempts }) => [ordinal, attempts])).toEqual([
    [0, 0],
    [2, 0],
    [3, 0],
  ])
  window.answer(3, true, settleAll(window))
  expect(window.settled).toEqual(settled(0x18n))
})

test.each([
  ['never given', 5, false],
  ['never given, with multiple', 5, true],
  ['answered before', 2, false],
  ['below all that is outstanding', 1, false],
  ['below all that is outstanding, with multiple', 1, true],
])('a tag that was %s is refused and changes nothing', (_name, tag, multiple) => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 4)
  sendAll(window)
  window.answer(1, false, settleAll(window))
  window.answer(2, false, settleAll(window))
  const before = window.settled
  expect(window.answer(tag, multiple, settleAll(window))).toBe(false)
  expect(window.settled).toEqual(before)
  expect(window.inFlight).toBe(2)
})

test('tag 0 with multiple means all that are outstanding, and nothing else', () => {
  const window = new ConfirmWindow(wide)
  expect(window.answer(0, true, settleAll(window))).toBe(false)
  pushTransaction(window, 0x10n, 3)
  sendAll(window)
  expect(window.answer(0, false, settleAll(window))).toBe(false)
  expect(window.answer(0, true, settleAll(window))).toBe(true)
  expect(window.isEmpty).toBe(true)
})

test('a row settles once', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 2)
  const [, row] = sendAll(window)
  window.settle(row!)
  expect(() => window.settle(row!)).toThrow('settled while settled')
  expect(() => window.fail(row!)).toThrow('failed while settled')
})

test('a row that was never sent settles only by way of the dead letters', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 2, (n) => (n === 0 ? { refusal: { code: 'EVENT_INVALID', text: 'x' } } : {}))
  const refused = window.nextUnsent()!
  expect(refused.message).toBeUndefined()
  expect(() => window.settle(refused)).toThrow('settled while unsent')
  expect(window.keep(refused, false)).toEqual([refused])
  expect([window.settled, window.nextUnsent()?.ordinal]).toEqual([settled(0n), 1])
  window.settle(refused)
  expect(window.settled).toEqual(settled(0n, 0x10n, 1))
})

test('answers for what a reset forgot change nothing', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 3)
  const [old] = sendAll(window)
  window.reset(settled(0x08n))
  expect([window.messages, window.inFlight, window.bytes]).toEqual([0, 3, 0])
  pushTransaction(window, 0x10n, 1)
  sendAll(window)
  expect(window.answer(3, true, settleAll(window))).toBe(true)
  window.settle(old!)
  window.fail(old!)
  expect(window.settled).toEqual(settled(0x08n))
  expect(window.inFlight).toBe(1)
  expect(window.answer(4, false, settleAll(window))).toBe(true)
  expect(window.settled).toEqual(settled(0x18n))
})

test('every unsettled row is found by its position, and no other', () => {
  const window = new ConfirmWindow(wide)
  pushTransaction(window, 0x10n, 3)
  pushTransaction(window, 0x20n, 4)
  expect(window.find(0x20n, 2)).toMatchObject({ commitLsn: 0x20n, ordinal: 2 })
  expect(window.find(0x10n, 0)).toMatchObject({ commitLsn: 0x10n, ordinal: 0 })
  expect([window.find(0x10n, 3), window.find(0x18n, 0), window.find(0x30n, 0)]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
  sendAll(window)
  window.answer(3, true, settleAll(window))
  expect(window.find(0x10n, 1)).toBeUndefined()
})

test('the oldest in flight is the oldest without an answer', () => {
  const window = new ConfirmWindow(wide)
  expect(window.oldestInFlight()).toBeUndefined()
  pushTransaction(window, 0x10n, 3)
  sendAll(window)
  window.answer(2, false, settleAll(window))
  expect(window.oldestInFlight()?.ordinal).toBe(0)
  window.answer(1, false, settleAll(window))
  expect(window.oldestInFlight()?.ordinal).toBe(2)
})

test('has room again well below full, so that the source is not stopped for each confirm', () => {
  const window = new ConfirmWindow({ messages: 8, bytes: 1e6 })
  pushTransaction(window, 0x10n, 8)
  sendAll(window)
  window.answer(1, false, settleAll(window))
  expect([window.isFull, window.hasRoom]).toEqual([false, false])
  window.answer(2, false, settleAll(window))
  expect(window.hasRoom).toBe(true)
})

test('displays what was received and published', () => {
  const window = new ConfirmWindow({ messages: 1, bytes: 1e6 })
  pushTransaction(window, 0x10n, 1)
  window.pushRow(windowRow({ commitLsn: 0x20n, ordinal: 0 }))
  expect([window.receivedLsn, window.publishedLsn]).toEqual([0x20n, 0n])
  sendAll(window)
  expect(window.publishedLsn).toBe(0x10n)
  window.answer(1, false, settleAll(window))
  sendAll(window)
  expect(window.publishedLsn).toBe(0x20n)
  expect(window.settledRows).toBe(1)
})

// A row keeps all of its columns until it is settled, as it may become a dead letter.
test('a row counts with all of its columns, not only its body', () => {
  const window = new ConfirmWindow({ messages: 100, bytes: 10_000 })
  const { origin } = windowRow({ commitLsn: 0x10n, ordinal: 0 })
  const wide = { ...origin, tuple: { ...origin.tuple, size: 9488 } }
  window.pushRow(windowRow({ commitLsn: 0x10n, ordinal: 0, origin: wide, body: 'small' }))
  expect([window.bytes, window.isFull]).toEqual([10_000, true])
})
