import { backoffDelay } from '../base/backoff.ts'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import type { SinkLog } from './answers.ts'
import type { ConfirmWindow, WindowRow } from './confirm-window.ts'
import type { Refusal } from './sink.ts'
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
  #timer: NodeJS.Timeout | undefined

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

  /** Nothing is asked of the keeper any more. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
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
        const delay = backoffDelay({ initialDelay: 200, maxDelay: this.#options.mendInterval }, ++attempt)
        this.#note(toBridgeError(error), delay)
        await new Promise<void>((resolve) => {
          this.#timer = setTimeout(resolve, delay)
        })
      }
    }
    this.#running = false
    this.#note(undefined, 0)
  }

  async #keep(batch: readonly Undeliverable[]): Promise<void> {
    const { keeper, window, onKept } = this.#options
    failPoint('dead-letter')
    const verdicts = await keeper.keep(batch)
    if (this.#stopped) return
    failPoint('dead-letter-kept')
    this.#queue = this.#queue.slice(batch.length)
    this.#note(undefined, 0)
    let kept = 0
    batch.forEach(({ row }, index) => {
      if (row.state !== 'keeping') return
      if (verdicts[index] === 'kept') {
        window.settle(row)
        kept++
      } else window.unkeep(row)
    })
    onKept(kept)
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
