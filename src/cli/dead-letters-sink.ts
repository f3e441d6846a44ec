import { BridgeError } from '../base/errors.ts'
import { noLsn } from '../base/lsn.ts'
import { makeSink } from '../compose-sink.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { Delivery, Outcome, Redeliverer } from '../dead-letter/publish-again.ts'
import { ConfirmWindow, type WindowRowInput } from '../sink/confirm-window.ts'
import type { Sink } from '../sink/sink.ts'
import type { Undeliverable, UndeliverableKeeper } from '../sink/undeliverable.ts'

/** How long the broker may be away, or take nothing, before a command gives up; milliseconds. */
const patience = 30_000

/** The sink of the bridge as a command uses it: connected with the first batch, nacks are tried again as the bridge does. */
export class SinkRedeliverer implements Redeliverer {
  readonly #loaded: LoadedConfig
  readonly #window: ConfirmWindow
  readonly #failures = new Failures()
  #sink: Sink | undefined
  #wake: () => void = () => {}
  #closed = false

  constructor(loaded: LoadedConfig) {
    this.#loaded = loaded
    const { confirmWindow } = loaded.config.sink
    this.#window = new ConfirmWindow(confirmWindow, { order: 'aggregate', positions: 'sparse' })
  }

  async send(rows: readonly WindowRowInput[], held: readonly boolean[]): Promise<Delivery> {
    if (this.#closed) throw new BridgeError('SINK_CONNECTION_LOST', 'the connection to the broker was given up')
    this.#sink ??= await this.#start()
    this.#failures.begin(rows.filter((_, index) => held[index] === true))
    this.#window.reset({ lsn: noLsn, partial: null })
    for (const row of rows) this.#window.pushRow(row)
    this.#sink.flush()
    const trouble = await this.#settled(this.#sink)
    // What is confirmed from here on would be confirmed unseen.
    if (trouble !== undefined) await this.close()
    return { outcomes: rows.map((row) => this.#outcomeOf(row)), trouble }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#sink?.stop()
  }

  /** Resolves when every row is settled, or with the reason why that is not to be expected. */
  async #settled(sink: Sink): Promise<BridgeError | undefined> {
    let away: number | undefined
    while (!this.#window.isEmpty) {
      if (sink.state === 'failing' || sink.state === 'stuck') return sink.reason ?? unreachable()
      if (sink.state === 'open') away = undefined
      else away ??= performance.now()
      const left = away === undefined ? patience : away + patience - performance.now()
      if (left <= 0) return sink.reason ?? unreachable()
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return undefined
  }

  #outcomeOf(row: WindowRowInput): Outcome {
    const failure = this.#failures.of(row)
    if (failure !== undefined) return failure
    const unsettled = this.#window.find(row.commitLsn, row.ordinal)
    // Settled and not failed: confirmed. What is settled behind an unsettled row is still found.
    return { kind: unsettled === undefined || unsettled.state === 'settled' ? 'delivered' : 'unknown' }
  }

  async #start(): Promise<Sink> {
    const sink = await makeSink(this.#loaded, {
      window: this.#window,
      keeper: this.#failures,
      order: 'aggregate',
      retry: this.#loaded.config.delivery.retry,
      retryReturned: false,
      log: { info() {}, warn() {} },
    })
    sink.start({ onProgress: () => this.#wake(), onState: () => this.#wake() })
    return sink
  }
}

/** Takes what cannot be delivered: for the command a dead letter is already kept, so it only notes why. */
class Failures implements UndeliverableKeeper {
  #held: ReadonlySet<string> = new Set()
  #closed = new Set<string>()
  #outcomes = new Map<string, Outcome>()

  /** Forgets the last batch. `held`: rows whose failure keeps the later ones of their aggregate from being sent. */
  begin(held: readonly WindowRowInput[]): void {
    this.#held = new Set(held.map(({ aggregateType, aggregateId }) => aggregateName(aggregateType, aggregateId)))
    this.#closed = new Set()
    this.#outcomes = new Map()
  }

  of(row: Position): Outcome | undefined {
    return this.#outcomes.get(positionKey(row))
  }

  async keep(items: readonly Undeliverable[]): Promise<'kept'[]> {
    return items.map(({ row, refusal }) => {
      const waits = refusal.code === 'EVENT_PARKED'
      const failed = { kind: 'failed', refusal, attempts: Math.max(1, row.attempts) } as const
      this.#outcomes.set(positionKey(row), waits ? { kind: 'waiting' } : failed)
      const aggregate = aggregateName(row.aggregateType, row.aggregateId)
      if (!waits && this.#held.has(aggregate)) this.#closed.add(aggregate)
      return 'kept'
    })
  }

  isParked(aggregateType: string | null, aggregateId: string | null): boolean {
    return this.#closed.size > 0 && this.#closed.has(aggregateName(aggregateType, aggregateId))
  }
}

type Position = Pick<WindowRowInput, 'commitLsn' | 'ordinal'>

function positionKey({ commitLsn, ordinal }: Position): string {
  return `${commitLsn}#${ordinal}`
}

function aggregateName(aggregateType: string | null, aggregateId: string | null): string {
  return `${aggregateType}\0${aggregateId}`
}

function unreachable(): BridgeError {
  return new BridgeError('SINK_UNREACHABLE', `the broker took nothing for ${patience / 1000} s`)
}
