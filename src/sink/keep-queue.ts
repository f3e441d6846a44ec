import { backoffDelay } from '../base/backoff.ts'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import type { SinkLog } from './answers.ts'
import type { ConfirmWindow, WindowRow } from './confirm-window.ts'
import type { Refusal } from './sink.ts'
import { describeRow } from './standing.ts'
import type { Undeliverable, UndeliverableKeeper } from './undeliverable.ts'

export interface KeepQueueOptions {
  readonly window: ConfirmWindow
  readonly keeper: UndeliverableKeeper
  /** The longest time between two tries to keep, milliseconds. */
  readonly mendInterval: number
  readonly log: SinkLog
  /** So many rows were kept. The settled position may have moved. */
  readonly onKept: (count: number) => void
  /** `trouble` may have changed. */
  readonly onChange: () => void
}

const batch_rows_max = 500
const batch_bytes_max = 8 * 1024 * 1024
const tellInterval = 10_000 // milliseconds

/**
 * What cannot be delivered, on its way to the dead letters: in order, in batches, one at a time, tried again until it is
 * durable. Meanwhile other rows flow on, as far as the window has room.
 */
export class KeepQueue {
  readonly #options: KeepQueueOptions
  #queue: Undeliverable[] = []
  #running = false
  #stopped = false
  #trouble: BridgeError | undefined
  /** Kept since the last line about it. */
  #untold = 0
  #toldAt = Number.NEGATIVE_INFINITY
  #hurried = false
  #wake: () => void = () => {}

  constructor(options: KeepQueueOptions) {
    this.#options = options
  }

  /** Why nothing can be kept at present. */
  get trouble(): BridgeError | undefined {
    return this.#trouble
  }

  /** `row` is in the state `keeping`. */
  add(row: WindowRow, refusal: Refusal): void {
    this.#queue.push({ row, refusal })
    if (this.#running) return
    this.#running = true
    // With what else this turn of the event loop brings.
    setImmediate(() => this.#run())
  }

  /** What was in the way may be over: tries again now, not at the end of a long delay. */
  hurry(): void {
    this.#hurried = true
    this.#wake()
  }

  /** Nothing is asked of the keeper any more. */
  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#stopped; ) {
      // A reset forgets rows; they come again.
      this.#queue = this.#queue.filter(({ row }) => row.state === 'keeping')
      const batch = firstBatch(this.#queue)
      if (batch.length === 0) break
      try {
        await this.#keep(batch)
        attempt = 0
      } catch (error) {
        if (this.#stopped) return // whatever it was: the rows are unsettled, and come again
        const failure = toBridgeError(error)
        const delay = backoffDelay({ initialDelay: 200, maxDelay: this.#options.mendInterval }, ++attempt)
        this.#note(failure, delay)
        // A broken invariant: nothing is kept any more, and the trouble stays to be seen.
        if (failure.action === 'bug') return
        await this.#pause(delay)
        if (this.#hurried) attempt = 0
      }
    }
    this.#running = false
    this.#note(undefined, 0)
  }

  async #pause(delay: number): Promise<void> {
    this.#hurried = false
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  async #keep(batch: readonly Undeliverable[]): Promise<void> {
    const { keeper, window, onKept } = this.#options
    failPoint('dead-letter')
    const verdicts = await keeper.keep(batch)
    if (this.#stopped) return
    failPoint('dead-letter-kept')
    this.#queue = this.#queue.slice(batch.length)
    this.#note(undefined, 0)
    const kept: Undeliverable[] = []
    batch.forEach((item, index) => {
      const { row } = item
      if (row.state !== 'keeping') return
      if (verdicts[index] === 'kept') {
        window.settle(row)
        kept.push(item)
      } else window.unkeep(row)
    })
    this.#tell(kept)
    onKept(kept.length)
  }

  /** One line now and then: there may be many. */
  #tell(kept: readonly Undeliverable[]): void {
    const [first] = kept
    this.#untold += kept.length
    const now = performance.now()
    if (first === undefined || now - this.#toldAt < tellInterval) return
    const { row, refusal } = first
    this.#options.log.warn(
      { deadLetters: this.#untold, reason: refusal.code },
      `kept as a dead letter: ${describeRow(row)}, ${refusal.text}`,
    )
    this.#untold = 0
    this.#toldAt = now
  }

  #note(trouble: BridgeError | undefined, delay: number): void {
    if (trouble === undefined && this.#trouble === undefined) return
    const repeated = trouble?.code === this.#trouble?.code
    this.#trouble = trouble
    const { log, onChange } = this.#options
    if (trouble !== undefined && !repeated)
      log.warn({ err: trouble, delay }, 'dead letters cannot be stored: trying again')
    if (trouble === undefined) log.info({}, 'dead letters are stored again')
    onChange()
  }
}

function firstBatch(queue: readonly Undeliverable[]): readonly Undeliverable[] {
  let bytes = 0
  let count = 0
  for (const { row } of queue) {
    bytes += row.bytes
    if (count > 0 && (count === batch_rows_max || bytes > batch_bytes_max)) break
    count++
  }
  return queue.slice(0, count)
}

/** For a sink without a place for dead letters: nothing that cannot be delivered is passed over. */
export const keepNothing: UndeliverableKeeper = {
  keep(items) {
    const [first] = items
    throw new BridgeError(
      first?.refusal.code ?? 'UNKNOWN',
      `an event cannot be delivered, and there is no place to keep it: ${first?.refusal.text}`,
    )
  },
  isParked: () => false,
}
