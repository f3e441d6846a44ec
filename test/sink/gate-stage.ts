import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import { SendGate, type SendGateOptions } from '../../src/sink/send-gate.ts'
import type { Refusal } from '../../src/sink/sink.ts'
import { pushTransaction, type RowWish } from './window-rows.ts'

export const nacked: Refusal = { code: 'EVENT_NACKED', text: 'nack' }
export const unroutable: Refusal = { code: 'EVENT_UNROUTABLE', text: 'returned' }
export const go = { kind: 'send' } as const
export const waitForAnswer = { kind: 'wait', until: undefined } as const

/**
 * A window with four rows, and the gate before it; two attempts, the second after 100 ms. Back-off without jitter.
 */
export function gateStage(
  wish: (ordinal: number) => Partial<RowWish> = () => ({}),
  options: Partial<SendGateOptions> = {},
) {
  const { order = 'commit' } = options
  const window = new ConfirmWindow({ messages: 100, bytes: 1e6 }, { order })
  pushTransaction(window, 0x10n, 4, wish)
  const retry = { attempts: 2, initialDelay: 100, maxDelay: 1000 }
  const gate = new SendGate(window, {
    retry,
    order,
    verifiedExchanges: new Set(),
    isParked: () => false,
    random: () => 1,
    ...options,
  })
  const unsent = (): WindowRow => {
    const row = window.nextUnsent()
    if (row === undefined) throw new Error('nothing is unsent')
    return row
  }
  const next = (now = 0) => gate.next(unsent(), window.inFlight, now)
  const send = (): WindowRow => {
    const row = unsent()
    window.sent(row, 0)
    return row
  }
  const fail = (row: WindowRow, refusal: Refusal, now: number) => {
    window.fail(row)
    gate.failed(row, refusal, now)
  }
  const confirm = (row: WindowRow) => {
    gate.confirmed(row)
    window.settle(row)
  }
  /** The next row became a dead letter. */
  const keep = () => {
    const row = unsent()
    window.keep(row, false)
    window.settle(row)
  }
  /** Another transaction of so many rows. */
  const push = (commitLsn: bigint, rows: number, one: (ordinal: number) => Partial<RowWish> = wish) =>
    pushTransaction(window, commitLsn, rows, one)
  return { window, gate, next, send, fail, confirm, keep, push, unsent }
}
