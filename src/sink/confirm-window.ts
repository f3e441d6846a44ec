import { assert } from '../base/assert.ts'
import { formatLsn, type Lsn, maxLsn, noLsn } from '../base/lsn.ts'
import { SequenceRing } from '../base/sequence-ring.ts'
import { AggregateLanes } from './aggregate-lanes.ts'
import type { OutboundMessage, Refusal, RefusedContent, RowOrigin, UnroutablePolicy } from './sink.ts'

/**
 * The ordered window, the heart of the bridge. Rows, commit marks and idle marks enter in stream order; rows settle in
 * any order, as the broker answers; marks settle when the head reaches them. What the head has passed is the settled
 * position, and nothing else may ever be stored. No I/O: the sink sends what `nextUnsent` gives and reports answers.
 *
 *   queued ──its aggregate's turn──► unsent ──sent──► in-flight ──settle──► settled ──head reaches it──► gone
 *                                    ▲ │ ▲               │                  ▲
 *               waiting ◄──putOff────┘ │ └── fail, or channelLost           │
 *                  └──────wake───►     └──keep──► keeping ──────────────────┘
 */
export interface WindowLimits {
  readonly messages: number
  /** Sum of what the rows hold, in bytes: body and all columns. A single larger row still passes, alone. */
  readonly bytes: number
}

export interface WindowOptions {
  /** `aggregate`: an aggregate's next row waits until the previous one is settled. Default `commit`: none waits. */
  readonly order?: 'commit' | 'aggregate'
  /** `sparse`: rows may be left out of transactions, as positions only ascend. Default `dense`: none may be missing. */
  readonly positions?: 'dense' | 'sparse'
}

/** What a row brings into the window. Either message is set, or refusal and refused are. */
export interface WindowRowInput {
  readonly commitLsn: Lsn
  readonly ordinal: number
  /** Commit time in whole seconds since the epoch: the age of the oldest unsettled event is the lag in seconds. */
  readonly committedAtSeconds: number
  readonly eventId: string | null
  readonly aggregateType: string | null
  readonly aggregateId: string | null
  readonly type: string | null
  readonly message: OutboundMessage | undefined
  readonly refusal: Refusal | undefined
  readonly refused: RefusedContent | undefined
  readonly unroutable: UnroutablePolicy
  readonly origin: RowOrigin
}

/** `queued`: behind an older row of its aggregate; `waiting`: for its time; `keeping`: on its way to the dead letters. */
export type RowState = 'queued' | 'unsent' | 'waiting' | 'keeping' | 'in-flight' | 'settled' | 'discarded'

export interface WindowRow extends WindowRowInput {
  readonly seq: number
  readonly bytes: number
  state: RowState
  /** Failed deliveries (nack, return) so far. Lost connections do not count. */
  attempts: number
  /** When it was last sent, milliseconds of the caller's clock. */
  sentAt: number
  /** Whether the broker returned the publish that is now in flight. */
  returned: boolean
}

/** Up to where everything is settled: `lsn` is an end LSN; `partial` counts rows of the transaction after it. */
export interface SettledPosition {
  readonly lsn: Lsn
  readonly partial: { readonly commitLsn: Lsn; readonly rows: number } | null
}

interface Mark {
  /** Settles when every row with a lower number is gone. */
  readonly seq: number
  readonly lsn: Lsn
}

/** Bytes counted for a row beside its columns: properties, headers, bookkeeping. */
const overheadBytes = 512

export class ConfirmWindow {
  readonly #limits: WindowLimits
  readonly #lanes: AggregateLanes | undefined
  readonly #sparse: boolean
  readonly #rows = new SequenceRing<WindowRow>(0, 4096)
  readonly #marks = new SequenceRing<Mark>(0, 1024)
  /** Publishes of the present channel by delivery tag, from the oldest unanswered one; undefined = answered. */
  #tags = new SequenceRing<WindowRow | null>(1, 4096)
  #cursor = 0
  #bytes = 0
  #inFlightMessages = 0
  #inFlightBytes = 0
  #settledLsn: Lsn = noLsn
  #settledPartial: { commitLsn: Lsn; rows: number } | null = null
  #receivedLsn: Lsn = noLsn
  #receivedPartial: { commitLsn: Lsn; rows: number } | null = null
  #publishedLsn: Lsn = noLsn
  #settledRows = 0
  #storedRows = 0

  constructor(limits: WindowLimits, { order = 'commit', positions = 'dense' }: WindowOptions = {}) {
    this.#limits = limits
    this.#lanes = order === 'aggregate' ? new AggregateLanes() : undefined
    this.#sparse = positions === 'sparse'
  }

  /**
   * Empties the window and starts at `position`. Publishes still in flight are forgotten: their answers change nothing.
   * They count as in flight until then: for the limits, and because each may be why the broker closes the channel.
   */
  reset(position: SettledPosition): void {
    for (let n = this.#rows.first; n < this.#rows.next; n++) this.#rows.get(n)!.state = 'discarded'
    this.#rows.clear()
    this.#marks.clear()
    this.#lanes?.clear()
    this.#cursor = this.#rows.next
    this.#bytes = 0
    this.#settledLsn = this.#receivedLsn = this.#publishedLsn = position.lsn
    this.#settledPartial = position.partial === null ? null : { ...position.partial }
    this.#receivedPartial = position.partial === null ? null : { ...position.partial }
    this.#storedRows = this.#settledRows
  }

  pushRow(input: WindowRowInput): void {
    const before = this.#receivedPartial
    assert(
      this.#isNext(input),
      () => `row ${formatLsn(input.commitLsn)}#${input.ordinal} came out of order, ${this.#describeReceived()}`,
    )
    // The body is one of the columns, most often a piece of the same memory; the others stay for the dead letter.
    const bytes = overheadBytes + Math.max((input.message ?? input.refused)!.body.length, input.origin.tuple.size)
    const row: WindowRow = {
      commitLsn: input.commitLsn,
      ordinal: input.ordinal,
      committedAtSeconds: input.committedAtSeconds,
      eventId: input.eventId,
      aggregateType: input.aggregateType,
      aggregateId: input.aggregateId,
      type: input.type,
      message: input.message,
      refusal: input.refusal,
      refused: input.refused,
      unroutable: input.unroutable,
      origin: input.origin,
      seq: this.#rows.next,
      bytes,
      state: 'unsent',
      attempts: 0,
      sentAt: 0,
      returned: false,
    }
    this.#rows.push(row)
    this.#bytes += bytes
    if (this.#lanes?.enter(row) === false) row.state = 'queued'
    if (before?.commitLsn === input.commitLsn) before.rows = input.ordinal + 1
    else this.#receivedPartial = { commitLsn: input.commitLsn, rows: input.ordinal + 1 }
  }

  /** The end of a transaction, after its rows. `endLsn` becomes the settled LSN once they all are settled. */
  pushCommit(commitLsn: Lsn, endLsn: Lsn): void {
    // After a resume inside a transaction, the empty ones before it may be announced again: they move nothing.
    if (this.#receivedPartial !== null && commitLsn < this.#receivedPartial.commitLsn) return
    assert(
      endLsn >= this.#receivedLsn && commitLsn >= this.#receivedLsn,
      () => `commit ${formatLsn(commitLsn)}..${formatLsn(endLsn)} came out of order, ${this.#describeReceived()}`,
    )
    assert(
      this.#receivedPartial === null || this.#receivedPartial.commitLsn === commitLsn,
      () => `commit ${formatLsn(commitLsn)} ends another transaction, ${this.#describeReceived()}`,
    )
    this.#pushMark({ seq: this.#rows.next, lsn: endLsn })
  }

  /** A keep-alive outside of a transaction. Ignored when it says nothing new; replaces an idle mark just before it. */
  pushIdle(walEnd: Lsn): void {
    if (walEnd <= this.#receivedLsn || this.#receivedPartial !== null) return
    this.#pushMark({ seq: this.#rows.next, lsn: walEnd })
  }

  /** The next row to send, in order, while the limits leave room; also a refused row, which has no message. */
  nextUnsent(): WindowRow | undefined {
    const rows = this.#rows
    if (this.#cursor < rows.first) this.#cursor = rows.first
    for (; this.#cursor < rows.next; this.#cursor++) {
      const row = rows.get(this.#cursor)!
      if (row.state !== 'unsent') continue
      const room =
        this.#inFlightMessages < this.#limits.messages &&
        (this.#inFlightMessages === 0 || this.#inFlightBytes + row.bytes <= this.#limits.bytes)
      return room ? row : undefined
    }
    return undefined
  }

  /** `row` was handed to the channel. Returns its delivery tag, which AMQP counts from 1 on each channel. */
  sent(row: WindowRow, now: number): number {
    assert(row.state === 'unsent', () => `row ${row.seq} sent while ${row.state}`)
    row.state = 'in-flight'
    row.sentAt = now
    row.returned = false
    this.#inFlightMessages++
    this.#inFlightBytes += row.bytes
    if (row.commitLsn > this.#publishedLsn) this.#publishedLsn = row.commitLsn
    return this.#tags.push(row)
  }

  /**
   * Resolves an ack or nack to the rows that it answers, oldest first. False when the tag was never given or has been
   * answered before: the channel can no longer be trusted.
   */
  answer(tag: number, multiple: boolean, visit: (row: WindowRow) => void): boolean {
    const tags = this.#tags
    if (multiple && tag === 0) {
      if (tags.length === 0) return false
      return this.answer(tags.next - 1, true, visit)
    }
    if (tag < tags.first || tag >= tags.next) return false
    if (multiple) {
      while (tags.first <= tag) {
        const row = tags.shift()
        if (row != null) this.#answered(row, visit)
      }
    } else {
      const row = tags.get(tag)
      if (row == null) return false
      tags.replace(tag, null)
      this.#answered(row, visit)
    }
    while (tags.length > 0 && tags.get(tags.first) === null) tags.shift()
    return true
  }

  /** Confirmed, kept as a dead letter, or skipped by policy: the row no longer holds back the head nor its aggregate. */
  settle(row: WindowRow): void {
    if (row.state === 'discarded') return
    assert(row.state === 'in-flight' || row.state === 'keeping', () => `row ${row.seq} settled while ${row.state}`)
    if (row.state === 'in-flight') this.#landed(row)
    row.state = 'settled'
    const successor = this.#lanes?.leave(row)
    if (successor?.state === 'queued') this.#release(successor)
    if (row.seq === this.#rows.first) this.#advance()
  }

  /** Nacked or returned: to be sent again, before everything younger. */
  fail(row: WindowRow): void {
    if (row.state === 'discarded') return
    assert(row.state === 'in-flight', () => `row ${row.seq} failed while ${row.state}`)
    this.#landed(row)
    row.attempts++
    this.#release(row)
  }

  /** An unsent row is to be passed over until wake(). */
  putOff(row: WindowRow): void {
    if (row.state === 'discarded') return
    assert(row.state === 'unsent', () => `row ${row.seq} put off while ${row.state}`)
    row.state = 'waiting'
  }

  wake(row: WindowRow): void {
    if (row.state === 'waiting') this.#release(row)
  }

  /**
   * An unsent row is on its way to the dead letters: nothing but settle() or unkeep() takes it further. With `followers`
   * so are the rows that are queued behind it. Returns all of them, in order.
   */
  keep(row: WindowRow, followers: boolean): WindowRow[] {
    if (row.state === 'discarded') return []
    assert(row.state === 'unsent', () => `row ${row.seq} kept while ${row.state}`)
    const behind = followers ? (this.#lanes?.rowsBehind(row) ?? []) : []
    // Some may be on their way already, since before those in front of them were released.
    const kept = [row, ...behind.filter(({ state }) => state === 'queued')]
    for (const one of kept) one.state = 'keeping'
    return kept
  }

  /** It is not to be kept after all: sent when it is its turn. */
  unkeep(row: WindowRow): void {
    if (row.state === 'discarded') return
    assert(row.state === 'keeping', () => `row ${row.seq} not kept while ${row.state}`)
    if (this.#lanes?.isFirst(row) === false) row.state = 'queued'
    else this.#release(row)
  }

  /** The channel is gone and with it every unanswered publish: all of them are unsent again, tags start anew. */
  channelLost(): void {
    for (let n = this.#rows.first; n < this.#rows.next; n++) {
      const row = this.#rows.get(n)!
      if (row.state === 'in-flight') row.state = 'unsent'
    }
    this.#cursor = this.#rows.first
    this.#inFlightMessages = 0
    this.#inFlightBytes = 0
    this.#tags = new SequenceRing<WindowRow | null>(1, 4096)
  }

  /** The unsettled row at this position; undefined when there is none. Positions ascend, so the search halves. */
  find(commitLsn: Lsn, ordinal: number): WindowRow | undefined {
    let low = this.#rows.first
    let high = this.#rows.next - 1
    while (low <= high) {
      const middle = Math.floor((low + high) / 2)
      const row = this.#rows.get(middle)!
      if (row.commitLsn === commitLsn && row.ordinal === ordinal) return row
      if (row.commitLsn < commitLsn || (row.commitLsn === commitLsn && row.ordinal < ordinal)) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  /** The oldest row without an answer on this channel; undefined when nothing is in flight. */
  oldestInFlight(): WindowRow | undefined {
    return this.#tags.get(this.#tags.first) ?? undefined
  }

  /** The oldest row that is not settled; undefined when the window is empty. */
  get head(): WindowRow | undefined {
    return this.#rows.get(this.#rows.first)
  }

  /** What may be stored: everything below is settled. */
  get settled(): SettledPosition {
    return { lsn: this.#settledLsn, partial: this.#settledPartial === null ? null : { ...this.#settledPartial } }
  }

  /** Up to where rows have come in: where a new source session may start while this window is kept. */
  get received(): SettledPosition {
    return { lsn: this.#receivedLsn, partial: this.#receivedPartial === null ? null : { ...this.#receivedPartial } }
  }

  /** Highest LSN of which something was received, for display. */
  get receivedLsn(): Lsn {
    return this.#receivedPartial === null
      ? this.#receivedLsn
      : maxLsn(this.#receivedLsn, this.#receivedPartial.commitLsn)
  }

  /** Highest LSN of which something was published, for display. */
  get publishedLsn(): Lsn {
    return this.#cursor >= this.#rows.next ? this.receivedLsn : maxLsn(this.#publishedLsn, this.#settledLsn)
  }

  /** Rows settled since the window was made. */
  get settledRows(): number {
    return this.#settledRows
  }

  /** Of these, how many are not stored yet. */
  get unstoredRows(): number {
    return this.#settledRows - this.#storedRows
  }

  /** What had settled when `settledRows` was read is stored now. Outlives the session, as the window does. */
  markStored(settledRows: number): void {
    this.#storedRows = settledRows
  }

  /** Unsettled rows, and settled ones behind them. */
  get messages(): number {
    return this.#rows.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Publishes without an answer. */
  get inFlight(): number {
    return this.#inFlightMessages
  }

  get isFull(): boolean {
    return this.#rows.length >= this.#limits.messages || this.#bytes >= this.#limits.bytes
  }

  /** Enough room to read on; lower than full, so that the source is not stopped and started for each confirm. */
  get hasRoom(): boolean {
    return this.#rows.length <= this.#limits.messages * 0.75 && this.#bytes <= this.#limits.bytes * 0.75
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0
  }

  #answered(row: WindowRow, visit: (row: WindowRow) => void): void {
    assert(row.state === 'in-flight' || row.state === 'discarded', () => `row ${row.seq} answered while ${row.state}`)
    if (row.state === 'discarded') this.#landed(row)
    else visit(row)
  }

  #landed(row: WindowRow): void {
    this.#inFlightMessages--
    this.#inFlightBytes -= row.bytes
  }

  #release(row: WindowRow): void {
    row.state = 'unsent'
    if (row.seq < this.#cursor) this.#cursor = row.seq
  }

  #isNext({ commitLsn, ordinal }: WindowRowInput): boolean {
    const open = this.#receivedPartial
    if (open !== null && commitLsn === open.commitLsn)
      return this.#sparse ? ordinal >= open.rows : ordinal === open.rows
    if (this.#sparse) return commitLsn >= this.#receivedLsn && (open === null || commitLsn > open.commitLsn)
    return open === null && commitLsn >= this.#receivedLsn && ordinal === 0
  }

  #pushMark(mark: Mark): void {
    this.#receivedLsn = mark.lsn
    this.#receivedPartial = null
    const last = this.#marks.get(this.#marks.next - 1)
    // With no row between them the later mark says all that the earlier one did.
    if (last !== undefined && last.seq === mark.seq) this.#marks.replace(this.#marks.next - 1, mark)
    else this.#marks.push(mark)
    this.#passMarks()
  }

  #advance(): void {
    const rows = this.#rows
    for (let row = rows.get(rows.first); row !== undefined && row.state === 'settled'; row = rows.get(rows.first)) {
      rows.shift()
      this.#bytes -= row.bytes
      this.#settledRows++
      const partial = this.#settledPartial
      if (partial !== null && partial.commitLsn === row.commitLsn) partial.rows = row.ordinal + 1
      else this.#settledPartial = { commitLsn: row.commitLsn, rows: row.ordinal + 1 }
      const mark = this.#marks.get(this.#marks.first)
      if (mark !== undefined && mark.seq === rows.first) this.#passMarks()
    }
  }

  #passMarks(): void {
    for (let mark = this.#marks.get(this.#marks.first); mark !== undefined; mark = this.#marks.get(this.#marks.first)) {
      if (mark.seq > this.#rows.first) return
      assert(mark.lsn >= this.#settledLsn, () => `settled LSN would move back to ${formatLsn(mark.lsn)}`)
      this.#marks.shift()
      this.#settledLsn = mark.lsn
      this.#settledPartial = null
    }
  }

  #describeReceived(): string {
    const partial = this.#receivedPartial
    const open = partial === null ? 'none open' : `${formatLsn(partial.commitLsn)} open with ${partial.rows} rows`
    return `after ${formatLsn(this.#receivedLsn)} with ${open}`
  }
}
