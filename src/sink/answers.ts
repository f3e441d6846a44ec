import { BridgeError } from '../base/errors.ts'
import { parseLsn } from '../base/lsn.ts'
import type { ConfirmWindow, WindowRow } from './confirm-window.ts'
import type { BrokerReply } from './failure.ts'
import type { SendGate } from './send-gate.ts'
import type { SinkCounters } from './sink.ts'
import { describeRow } from './standing.ts'

/** As pino's: fields, then text. */
export interface SinkLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
}

/** At most one line in this time for each kind of event that can come in floods. */
const logInterval = 10_000 // milliseconds

/** What the broker's answers mean for the rows of the window: settled, dropped, or failed. No I/O but the log. */
export class Answers {
  readonly #window: ConfirmWindow
  readonly #gate: SendGate
  readonly #counters: SinkCounters
  readonly #log: SinkLog
  #droppedAtLastLog = 0
  #droppedLogAt = Number.NEGATIVE_INFINITY
  #unmatchedSeen = false

  constructor(window: ConfirmWindow, gate: SendGate, counters: SinkCounters, log: SinkLog) {
    this.#window = window
    this.#gate = gate
    this.#counters = counters
    this.#log = log
  }

  /**
   * An ack or a nack. Returns the last row that it settled and adds their number to the counters. Throws SINK_PROTOCOL,
   * with nothing settled, for a tag that is not outstanding: then the others cannot be trusted either.
   */
  answer(confirmed: boolean, tag: number, multiple: boolean, now: number): WindowRow | undefined {
    let last: WindowRow | undefined
    const known = this.#window.answer(tag, multiple, (row) => {
      if (!confirmed) this.#nacked(row, now)
      else if (row.returned) this.#unroutable(row, now)
      else {
        this.#gate.confirmed(row)
        this.#window.settle(row)
        this.#counters.confirmed++
        last = row
      }
    })
    if (known) return last
    const kind = `${confirmed ? 'ack' : 'nack'} of delivery tag ${tag}${multiple ? ' and all before' : ''}`
    throw new BridgeError('SINK_PROTOCOL', `the broker sent an ${kind}, which is not outstanding on this channel`)
  }

  /** A returned message; its ack comes next, and is a failure. Found by position, which its headers carry. */
  returned(headers: Readonly<Record<string, unknown>>, reply: BrokerReply): void {
    this.#counters.returned++
    const row = this.#find(headers)
    if (row?.state === 'in-flight') {
      row.returned = true
    } else if (!this.#unmatchedSeen) {
      this.#unmatchedSeen = true
      const position = { 'wal-lsn': headers['wal-lsn'], 'wal-ordinal': headers['wal-ordinal'] }
      this.#log.warn({ ...position, reply: reply.text }, 'the broker returned a message that is not in flight')
    }
  }

  #find(headers: Readonly<Record<string, unknown>>): WindowRow | undefined {
    const lsn = headers['wal-lsn']
    const ordinal = headers['wal-ordinal']
    if (typeof lsn !== 'string' || typeof ordinal !== 'number') return undefined
    try {
      return this.#window.find(parseLsn(lsn), ordinal)
    } catch {
      // Not a position: the caller reports it as a message that is not in flight.
      return undefined
    }
  }

  #nacked(row: WindowRow, now: number): void {
    this.#counters.nacked++
    this.#window.fail(row)
    const text = `the broker refused it (nack) ${times(row)}`
    this.#gate.failed(row, { code: 'EVENT_NACKED', text }, now)
  }

  #unroutable(row: WindowRow, now: number): void {
    if (row.unroutable === 'drop') {
      this.#window.settle(row)
      this.#counters.dropped++
      this.#logDropped(row, now)
      return
    }
    this.#window.fail(row)
    this.#gate.failed(row, { code: 'EVENT_UNROUTABLE', text: `no queue takes it, returned ${times(row)}` }, now)
  }

  #logDropped(row: WindowRow, now: number): void {
    if (now - this.#droppedLogAt < logInterval) return
    const dropped = this.#counters.dropped
    this.#log.warn({ dropped: dropped - this.#droppedAtLastLog }, `dropped, as no queue takes it: ${describeRow(row)}`)
    this.#droppedLogAt = now
    this.#droppedAtLastLog = dropped
  }
}

function times(row: WindowRow): string {
  return row.attempts === 1 ? 'once' : `${row.attempts} times`
}
