import type { BridgeError } from '../src/base/errors.ts'
import type { Lsn } from '../src/base/lsn.ts'
import { Bridge, type BridgeTimings } from '../src/bridge.ts'
import type { Checkpoint, Resume } from '../src/checkpoint/checkpoint.ts'
import type { Routing } from '../src/routing/routing.ts'
import { ConfirmWindow, type WindowRow } from '../src/sink/confirm-window.ts'
import { PublishLease } from '../src/sink/publish-lease.ts'
import type { Sink, SinkHandlers, SinkState } from '../src/sink/sink.ts'
import type { Source, SourceEvent, SourceHandlers, StartPosition } from '../src/source/source.ts'
import { windowRow } from './sink/window-rows.ts'

/** A promise that the test settles. */
export function gate<T = void>() {
  let open!: (value: T) => void
  let fail!: (error: unknown) => void
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { promise, open, fail }
}

export const at = (lsn: bigint, commitLsn?: bigint, rows = 1): StartPosition => ({
  lsn,
  partial: commitLsn === undefined ? null : { commitLsn, rows },
})

/** A row of a transaction that commits at `commitLsn`. */
export function row(commitLsn: bigint, ordinal = 0): SourceEvent {
  const transaction = { commitLsn, commitLsnText: '', committedAt: '', committedAtSeconds: 0 }
  const relation = { schema: 'public', table: 'outbox', columns: [] }
  const tuple = { text: () => null, bytes: () => null, byteLength: () => 0, size: 0 }
  return { kind: 'row', transaction, ordinal, relation, tuple }
}

/** Its end, eight bytes on. */
export const commit = (commitLsn: bigint): SourceEvent => ({ kind: 'commit', commitLsn, endLsn: commitLsn + 8n })

class ScriptedSource implements Source {
  readonly counters = { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  readonly acknowledged: Lsn[] = []
  /** start() waits for it. */
  starting: Promise<void> = Promise.resolve()
  walSenderTimeout = 60_000
  handlers!: SourceHandlers
  readonly #calls: string[]

  constructor(calls: string[]) {
    this.#calls = calls
  }

  async start(position: StartPosition, handlers: SourceHandlers): Promise<void> {
    this.#calls.push(`start ${position.lsn}`)
    this.handlers = handlers
    await this.starting
  }
  pause(): void {
    this.#calls.push('pause')
  }
  resume(): void {
    this.#calls.push('read')
  }
  acknowledge(stored: Lsn): void {
    this.#calls.push(`acknowledge ${stored}`)
    this.acknowledged.push(stored)
  }
  async stop(): Promise<void> {
    this.#calls.push('stop source')
  }
}

/** Confirms only when the test says so. */
class ScriptedSink implements Sink {
  state: SinkState = 'open'
  readonly reason = undefined
  readonly counters = { published: 0, confirmed: 0, nacked: 0, returned: 0, deadLettered: 0, dropped: 0, reconnects: 0 }
  /** How often it was asked to publish. */
  flushes = 0
  readonly #window: ConfirmWindow

  constructor(window: ConfirmWindow) {
    this.#window = window
  }
  start(_handlers: SinkHandlers): void {}
  resume(): void {
    this.flush()
  }
  flush(): void {
    this.flushes++
    for (let next = this.#window.nextUnsent(); next !== undefined; next = this.#window.nextUnsent())
      this.#window.sent(next, 0)
  }
  async stop(): Promise<void> {}
}

class ScriptedCheckpoint implements Checkpoint {
  readonly stored: { position: StartPosition; rows: number }[] = []
  resumes: Resume = { start: at(0x10n), remembered: false, stored: at(0x10n), acknowledged: 0x10n }
  received: StartPosition | undefined
  resuming: Promise<void> = Promise.resolve()
  claiming: Promise<void> = Promise.resolve()
  watching: () => Promise<void> = async () => {}
  confirmingOwner: () => Promise<void> = async () => {}
  /** What each store waits for; gives the WAL end. */
  storing: () => Promise<Lsn> = async () => 0n
  onLost!: (error: BridgeError) => void
  readonly #calls: string[]

  constructor(calls: string[]) {
    this.#calls = calls
  }

  async resume(received: StartPosition, onLost: (error: BridgeError) => void): Promise<Resume> {
    this.#calls.push('resume')
    this.received = received
    this.onLost = onLost
    await this.resuming
    return this.resumes
  }
  async claim(): Promise<void> {
    this.#calls.push('claim')
    await this.claiming
  }
  async store(position: StartPosition, rows: number): Promise<Lsn> {
    this.#calls.push(`store ${position.lsn}`)
    const walEnd = await this.storing()
    this.#calls.push(`stored ${position.lsn}`)
    this.stored.push({ position, rows })
    return walEnd
  }
  async recordHistory(moment: string): Promise<void> {
    this.#calls.push(`history ${moment}`)
  }
  confirmOwner(): Promise<void> {
    this.#calls.push('owner?')
    return this.confirmingOwner()
  }
  watch(): Promise<void> {
    return this.watching()
  }
  async noteUnstreamed(): Promise<void> {
    this.#calls.push('unstreamed')
  }
  async close(): Promise<void> {
    this.#calls.push('close')
  }
}

const timings: BridgeTimings = {
  storeInterval: 20,
  historyInterval: 60_000,
  watchInterval: 60_000,
  backpressureTimeout: 60_000,
  drainTimeout: 60_000,
}

/** One session between scripted parts and a real window, which may be one that is kept from another session. */
export function scriptedBridge(
  options: {
    window?: ConfirmWindow
    timings?: Partial<BridgeTimings>
    claimed?: () => Promise<void>
    /** Instead of the scripted one. */
    sink?: Sink
    lease?: PublishLease
  } = {},
) {
  const calls: string[] = []
  const released: (string | undefined)[] = []
  const window = options.window ?? new ConfirmWindow({ messages: 4, bytes: 1_000_000 })
  const source = new ScriptedSource(calls)
  const sink = new ScriptedSink(window)
  const checkpoint = new ScriptedCheckpoint(calls)
  const streaming = gate()
  const routing: Routing = {
    route: ({ transaction, ordinal }) => {
      const input = windowRow({ commitLsn: transaction.commitLsn, ordinal })
      return { ...input, aggregateType: 'order', aggregateId: '1', type: 'created' } as ReturnType<Routing['route']>
    },
  }
  const onStreaming = () => {
    calls.push('streaming')
    streaming.open()
  }
  const lease = options.lease ?? new PublishLease()
  const onClaimed = async () => {
    calls.push('claimed')
    await options.claimed?.()
  }
  const parts = {
    source,
    routing,
    window,
    sink: options.sink ?? sink,
    lease,
    onClaimed,
    onReleased: (reason: BridgeError | undefined) => void released.push(reason?.code),
    checkpoint,
    timings: { ...timings, ...options.timings },
    onStreaming,
  }
  const bridge = new Bridge(parts)
  /** The broker confirms the oldest rows that wait for it. */
  const confirm = (count = Number.POSITIVE_INFINITY) => {
    const rows: WindowRow[] = []
    for (let n = 0; n < count && window.oldestInFlight() !== undefined; n++)
      window.answer(tagOf(window), false, (one) => rows.push(one))
    for (const one of rows) window.settle(one)
    bridge.onProgress()
  }
  return {
    ...{ bridge, source, sink, lease, checkpoint, window, calls, released, routing, confirm },
    streaming: streaming.promise,
  }
}

const tags = new WeakMap<ConfirmWindow, number>()

/** The delivery tag of the oldest publish without an answer: they are answered in order here. */
function tagOf(window: ConfirmWindow): number {
  const tag = (tags.get(window) ?? 0) + 1
  tags.set(window, tag)
  return tag
}
