import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type {
  SourceCounters,
  SourceEvent,
  SourceRelation,
  SourceTransaction,
  SourceTuple,
  StartPosition,
} from './source.ts'
import type { DecodedStream } from './wal-decoder.ts'

/**
 * Turns decoded messages and keep-alives into events: numbers the rows of each transaction, passes over those that an
 * earlier session has settled, and refuses a stream whose order makes no sense.
 */
export class EventAssembler implements DecodedStream {
  readonly #counters: SourceCounters
  #events: SourceEvent[] = []
  /** All that committed below is in the events made so far, or was before the start. */
  #received: Lsn
  #partial: StartPosition['partial']
  #transaction: SourceTransaction | undefined
  #ordinal = 0
  /** Rows of the open transaction that are passed over. */
  #settledRows = 0

  constructor(position: StartPosition, counters: SourceCounters) {
    this.#received = position.lsn
    this.#partial = position.partial
    this.#counters = counters
  }

  /** Nothing above it may ever be acknowledged. */
  get received(): Lsn {
    return this.#received
  }

  get hasEvents(): boolean {
    return this.#events.length > 0
  }

  /** The events since the last call, in stream order. */
  take(): SourceEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  begin(transaction: SourceTransaction): void {
    const { commitLsn, commitLsnText } = transaction
    if (this.#transaction !== undefined) throw disorder(`transaction ${commitLsnText} began inside of another`)
    // Another transaction may commit where the last one ended, never below.
    assert(
      commitLsn >= this.#received,
      () => `transaction ${commitLsnText} came after all below ${formatLsn(this.#received)} was received`,
    )
    if (this.#partial !== null) {
      this.#assertNotPassed(commitLsn, commitLsnText)
      if (commitLsn === this.#partial.commitLsn) this.#settledRows = this.#partial.rows
    }
    this.#transaction = transaction
    this.#ordinal = 0
  }

  row(relation: SourceRelation, tuple: SourceTuple): void {
    const transaction = this.#transaction
    if (transaction === undefined) throw disorder('a row outside of any transaction')
    const ordinal = this.#ordinal++
    if (ordinal < this.#settledRows) return
    this.#counters.rows++
    this.#events.push({ kind: 'row', transaction, ordinal, relation, tuple })
  }

  commit(commitLsn: Lsn, endLsn: Lsn): void {
    const open = this.#transaction
    if (open === undefined) throw disorder(`a commit at ${formatLsn(commitLsn)} outside of any transaction`)
    if (commitLsn !== open.commitLsn || endLsn <= commitLsn) {
      throw disorder(
        `a commit at ${formatLsn(commitLsn)} that ends at ${formatLsn(endLsn)}, for a transaction that began with ${open.commitLsnText}`,
      )
    }
    assert(
      this.#ordinal >= this.#settledRows,
      () =>
        `transaction ${open.commitLsnText} has ${this.#ordinal} outbox rows, ${this.#settledRows} of them were settled before`,
    )
    if (commitLsn === this.#partial?.commitLsn) this.#partial = null
    this.#settledRows = 0
    this.#transaction = undefined
    this.#received = endLsn
    this.#counters.transactions++
    this.#events.push({ kind: 'commit', commitLsn: open.commitLsn, endLsn })
  }

  ignored(): void {
    this.#counters.ignored++
  }

  keepalive(walEnd: Lsn): void {
    this.#counters.keepalives++
    // Inside a transaction it says nothing of that transaction's rows.
    if (this.#transaction !== undefined || walEnd <= this.#received) return
    if (this.#partial !== null) this.#assertNotPassed(walEnd - 1n, formatLsn(walEnd))
    this.#received = walEnd
    this.#events.push({ kind: 'idle', walEnd })
  }

  /** The partly settled transaction must come: without it the stream is not the one that the position belongs to. */
  #assertNotPassed(lsn: Lsn, text: string): void {
    const { commitLsn, rows } = this.#partial!
    assert(
      lsn <= commitLsn,
      () => `the stream is at ${text} without transaction ${formatLsn(commitLsn)}, of which ${rows} rows were settled`,
    )
  }
}

function disorder(what: string): BridgeError {
  return new BridgeError('SOURCE_PROTOCOL', `the stream held ${what}`)
}
