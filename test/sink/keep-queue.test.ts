import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import { KeepQueue, keepNothing } from '../../src/sink/keep-queue.ts'
import type { UndeliverableKeeper } from '../../src/sink/undeliverable.ts'
import { ScriptedKeeper } from './scripted-keeper.ts'
import { pushTransaction, type RowWish } from './window-rows.ts'

const nacked = { code: 'EVENT_NACKED', text: 'nack' } as const
const parked = { code: 'EVENT_PARKED', text: 'behind' } as const
const lost = () => new BridgeError('SOURCE_UNREACHABLE', 'scripted')

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(Math, 'random').mockReturnValue(1)
})

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

function stage(rows: number, wish: (ordinal: number) => Partial<RowWish> = () => ({}), keeper?: UndeliverableKeeper) {
  const window = new ConfirmWindow({ messages: 10_000, bytes: 1e9 }, { order: 'aggregate' })
  const scripted = new ScriptedKeeper()
  const lines: string[] = []
  const log = (fields: object, text: string) => lines.push(`${text} ${Object.keys(fields)}`)
  const kept: number[] = []
  const standings: (string | undefined)[] = []
  const queue = new KeepQueue({
    window,
    keeper: keeper ?? scripted,
    mendInterval: 30_000,
    log: { info: log, warn: log },
    onKept: (count) => kept.push(count),
    onChange: () => standings.push(queue.trouble?.code),
  })
  pushTransaction(window, 0x10n, rows, wish)
  /** The next unsent row cannot be delivered. */
  const add = () => {
    const row = window.nextUnsent()
    if (row === undefined) throw new Error('nothing is unsent')
    window.keep(row, false)
    queue.add(row, nacked)
    return row
  }
  const addAll = () => {
    while (window.nextUnsent() !== undefined) add()
  }
  const pass = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds)
  return { window, queue, keeper: scripted, lines, kept, standings, add, addAll, pass }
}

/** A keeper that answers when the test says so. */
function holdBack(keeper: ScriptedKeeper) {
  const answers: (() => void)[] = []
  keeper.before = () => new Promise((resolve) => void answers.push(resolve))
  return answers
}

test('what one turn of the event loop brings is kept in one batch, in order, and settles', async () => {
  const { window, keeper, kept, add, pass } = stage(3)
  add()
  add()
  add()
  expect(keeper.calls).toEqual([])
  await pass()
  expect(keeper.calls).toEqual([3])
  expect(keeper.kept).toEqual([0, 1, 2].map((n) => `event-16-${n} EVENT_NACKED`))
  expect([window.settled.lsn, kept]).toEqual([0x18n, [3]])
})

test('batches hold at most 500 events, in order', async () => {
  const { window, keeper, addAll, pass } = stage(1203)
  addAll()
  await pass()
  expect(keeper.calls).toEqual([500, 500, 203])
  expect(keeper.kept).toEqual(Array.from({ length: 1203 }, (_, n) => `event-16-${n} EVENT_NACKED`))
  expect(window.isEmpty).toBe(true)
})

test('batches hold at most 8 MiB, or a single larger event', async () => {
  const mib = 1024 * 1024
  const sizes = [3, 3, 3, 9, 1, 6, 1].map((size) => Buffer.alloc(size * mib - 1024))
  const { keeper, addAll, pass } = stage(sizes.length, (n) => ({ message: { body: sizes[n] ?? Buffer.alloc(0) } }))
  addAll()
  await pass()
  expect(keeper.calls).toEqual([2, 1, 1, 3])
})

test('one batch at a time: what comes meanwhile is kept after it', async () => {
  const { window, keeper, add, pass } = stage(3)
  const answers = holdBack(keeper)
  add()
  await pass()
  add()
  add()
  await pass(60_000)
  expect(keeper.calls).toEqual([1])
  answers[0]?.()
  await pass()
  expect(keeper.calls).toEqual([1, 2])
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 1 })
  answers[1]?.()
  await pass()
  expect(window.isEmpty).toBe(true)
})

test('nothing settles before the keeper has answered', async () => {
  const { window, keeper, add, pass, kept } = stage(1)
  const answers = holdBack(keeper)
  add()
  await pass(60_000)
  expect([window.settled.lsn, kept]).toEqual([0n, []])
  answers[0]?.()
  await pass()
  expect(window.settled.lsn).toBe(0x18n)
})

test('a keeper that fails is asked again for the same, ever more slowly, and the trouble shows meanwhile', async () => {
  const { window, queue, keeper, lines, standings, add, pass } = stage(3)
  keeper.failing = lost()
  add()
  add()
  await pass()
  expect([keeper.calls.length, queue.trouble?.code]).toEqual([1, 'SOURCE_UNREACHABLE'])
  let calls = 1
  for (const delay of [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]) {
    await pass(delay - 1)
    expect(keeper.calls).toHaveLength(calls)
    await pass(1)
    expect(keeper.calls).toHaveLength(++calls)
  }
  // What came meanwhile goes with the next try, behind the others.
  add()
  keeper.failing = undefined
  await pass(30_000)
  expect(keeper.kept).toEqual([0, 1, 2].map((n) => `event-16-${n} EVENT_NACKED`))
  expect([queue.trouble, window.isEmpty, standings.at(0), standings.at(-1)]).toEqual([
    ...[undefined, true, 'SOURCE_UNREACHABLE', undefined],
  ])
  expect(lines).toEqual([
    'dead letters cannot be stored: trying again err,delay',
    'dead letters are stored again ',
    expect.stringMatching(/^kept as a dead letter: event event-16-0 .* deadLetters,reason$/),
  ])
})

test('one line in ten seconds tells what was kept, however much it is', async () => {
  const { lines, add, pass } = stage(4)
  add()
  await pass()
  add()
  await pass()
  expect(lines).toHaveLength(1)
  add()
  await pass(10_000)
  add()
  await pass()
  expect(lines.map((line) => /event-16-./.exec(line)?.[0])).toEqual(['event-16-0', 'event-16-3'])
})

test('what was in the way may be over: told so, it is asked at once, and the delays begin anew', async () => {
  const { queue, keeper, add, pass } = stage(1)
  keeper.failing = lost()
  add()
  await pass(20_000)
  const calls = keeper.calls.length
  queue.hurry()
  await pass()
  expect(keeper.calls).toHaveLength(calls + 1)
  await pass(200)
  expect(keeper.calls).toHaveLength(calls + 2)
})

test('a broken invariant stops the keeping for good, and stays to be seen', async () => {
  const { window, queue, keeper, addAll, pass } = stage(2)
  keeper.failing = new BridgeError('ASSERTION_FAILED', 'scripted')
  addAll()
  await pass()
  keeper.failing = undefined
  await pass(120_000)
  expect([keeper.calls.length, queue.trouble?.code, window.isEmpty]).toEqual([1, 'ASSERTION_FAILED', false])
})

test('the first batch that is kept ends the trouble and the series of delays, whatever is still to come', async () => {
  const { queue, keeper, addAll, pass } = stage(501)
  const answers = holdBack(keeper)
  keeper.failing = lost()
  addAll()
  await pass()
  for (const delay of [200, 400, 800]) {
    answers.shift()?.()
    await pass(delay)
  }
  keeper.failing = undefined
  answers.shift()?.()
  await pass()
  expect([keeper.calls, queue.trouble]).toEqual([[500, 500, 500, 500, 1], undefined])
  keeper.failing = lost()
  answers.shift()?.()
  await pass(199)
  expect(keeper.calls).toHaveLength(5)
  await pass(1)
  expect(keeper.calls).toHaveLength(6)
})

test('an error of another kind is told anew', async () => {
  const { queue, keeper, lines, add, pass } = stage(1)
  keeper.failing = lost()
  add()
  await pass(300)
  keeper.failing = new BridgeError('SOURCE_PERMISSION_DENIED', 'scripted')
  await pass(2000)
  expect([queue.trouble?.code, lines.length]).toEqual(['SOURCE_PERMISSION_DENIED', 2])
})

test('a reset meanwhile forgets what was to be kept: it comes again, as new rows', async () => {
  const { window, queue, keeper, add, pass } = stage(3)
  keeper.failing = lost()
  add()
  add()
  await pass()
  window.reset({ lsn: 0x08n, partial: null })
  keeper.failing = undefined
  await pass(1000)
  expect([keeper.calls, keeper.kept, queue.trouble]).toEqual([[2], [], undefined])
  pushTransaction(window, 0x10n, 1)
  add()
  await pass()
  expect([keeper.kept, window.settled.lsn]).toEqual([['event-16-0 EVENT_NACKED'], 0x18n])
})

test('a reset while the keeper is at it settles nothing of the new window', async () => {
  const { window, keeper, kept, add, pass } = stage(2)
  const answers = holdBack(keeper)
  add()
  await pass()
  window.reset({ lsn: 0x08n, partial: null })
  pushTransaction(window, 0x10n, 2)
  const again = add()
  answers[0]?.()
  await pass()
  expect([window.settled.lsn, again.state, kept, keeper.calls]).toEqual([0x08n, 'keeping', [0], [1, 1]])
  answers[1]?.()
  await pass()
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 1 })
})

test('what is released is unsent again, in order, with what was queued behind it', async () => {
  const { window, queue, keeper, pass } = stage(5, (n) => ({ aggregateType: 't', aggregateId: n === 3 ? 'b' : 'a' }))
  const head = window.nextUnsent()
  if (head === undefined) throw new Error('nothing is unsent')
  for (const row of window.keep(head, true)) queue.add(row, parked)
  pushTransaction(window, 0x20n, 1, () => ({ aggregateType: 't', aggregateId: 'a' }))
  keeper.verdict = () => 'released'
  await pass()
  expect(keeper.calls).toEqual([4])
  const sent: WindowRow[] = []
  for (let row = window.nextUnsent(); row !== undefined; row = window.nextUnsent()) {
    window.sent(row, 0)
    sent.push(row)
    if (row.aggregateId === 'a') window.settle(row)
  }
  expect(sent.map(({ commitLsn, ordinal }) => `${commitLsn}#${ordinal}`)).toEqual([
    ...['16#0', '16#1', '16#2', '16#3', '16#4', '32#0'],
  ])
})

test('what is kept and what is released of one batch each go their way', async () => {
  const { window, keeper, kept, addAll, pass } = stage(4)
  keeper.verdict = ({ row }) => (row.ordinal % 2 === 0 ? 'kept' : 'released')
  addAll()
  await pass()
  expect([kept, window.settled.partial, window.nextUnsent()?.ordinal]).toEqual([[2], { commitLsn: 0x10n, rows: 1 }, 1])
})

test('after a stop nothing is asked, nothing settles, and no timer is left', async () => {
  const { window, queue, keeper, kept, add, pass } = stage(3)
  const answers = holdBack(keeper)
  add()
  await pass()
  add()
  queue.stop()
  answers[0]?.()
  await pass(60_000)
  expect([keeper.calls, kept, window.settled.partial, vi.getTimerCount()]).toEqual([[1], [], null, 0])
})

test('a stop between two tries ends them', async () => {
  const { queue, keeper, add, pass } = stage(1)
  keeper.failing = lost()
  add()
  await pass()
  queue.stop()
  expect(vi.getTimerCount()).toBe(0)
  await pass(60_000)
  expect(keeper.calls).toEqual([1])
})

test('without a place for dead letters nothing is ever kept, and the trouble is the event itself', async () => {
  const { window, queue, add, pass } = stage(1, () => ({}), keepNothing)
  add()
  await pass(300_000)
  expect([queue.trouble?.code, window.settled.lsn]).toEqual(['EVENT_NACKED', 0n])
  expect(queue.trouble?.message).toContain('nack')
})
