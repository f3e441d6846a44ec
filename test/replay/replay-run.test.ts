import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import type { Lsn } from '../../src/base/lsn.ts'
import { RateLimit } from '../../src/replay/rate-limit.ts'
import { PublishOutput } from '../../src/replay/replay-output.ts'
import { type ReplayParts, ReplayRun } from '../../src/replay/replay-run.ts'
import type { RoutedEvent } from '../../src/routing/routing.ts'
import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import type { Sink, SinkState } from '../../src/sink/sink.ts'
import type { Source, SourceEvent, SourceHandlers, StartPosition } from '../../src/source/source.ts'
import { commit, row } from '../scripted-parts.ts'
import { windowRow } from '../sink/window-rows.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

/** Lets what is due happen, and what follows from it. */
const pass = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds)

class ScriptedSource implements Source {
  readonly counters = { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  readonly walSenderTimeout = 60_000
  readonly acknowledged: Lsn[] = []
  readonly refuse: BridgeError | undefined
  position: StartPosition | undefined
  paused = true
  stopped = false
  handlers: SourceHandlers | undefined

  constructor(refuse?: BridgeError) {
    this.refuse = refuse
  }
  async start(position: StartPosition, handlers: SourceHandlers): Promise<void> {
    this.position = position
    if (this.refuse !== undefined) throw this.refuse
    this.handlers = handlers
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  acknowledge(stored: Lsn): void {
    this.acknowledged.push(stored)
  }
  async stop(): Promise<void> {
    this.stopped = true
  }
  give(...events: SourceEvent[]): void {
    this.handlers!.onEvents(events)
  }
}

/** A replay from 100 to 200 with everything scripted; the broker confirms when the test says so. */
function stage(changes: Partial<ReplayParts> = {}, limits = { messages: 10, bytes: 1e9 }) {
  const window = new ConfirmWindow(limits, { positions: 'sparse' })
  window.reset({ lsn: 100n, partial: null })
  const sent: WindowRow[] = []
  const sink = {
    state: 'open' as SinkState,
    reason: undefined as BridgeError | undefined,
    counters: { published: 0, confirmed: 0, nacked: 0, returned: 0, deadLettered: 0, dropped: 0, reconnects: 0 },
    start() {},
    resume() {},
    async stop() {},
    flush() {
      for (let next = window.nextUnsent(); next !== undefined; next = window.nextUnsent()) {
        window.sent(next, 0)
        sent.push(next)
      }
    },
  }
  const sources: ScriptedSource[] = []
  const stored: StartPosition[] = []
  const parts: ReplayParts = {
    range: { from: { lsn: 100n, rows: 0 }, to: { lsn: 200n, rows: 0 } },
    newSource: async () => {
      const source = new ScriptedSource()
      sources.push(source)
      return source
    },
    routing: {
      route: (one) =>
        windowRow({ commitLsn: one.transaction.commitLsn, ordinal: one.ordinal }) as unknown as RoutedEvent,
    },
    output: new PublishOutput(window, sink as Sink),
    admits: () => true,
    redirect: (event) => event,
    rate: new RateLimit(undefined),
    store: async (settled) => void stored.push(settled),
    ...changes,
  }
  const run = new ReplayRun(parts)
  const confirm = () => {
    for (const { commitLsn } of sent.splice(0)) {
      const known = window.answer(sink.counters.confirmed++ + 1, false, (answered) => window.settle(answered))
      if (!known) throw new Error(`no publish of ${commitLsn} is in flight`)
    }
    run.onProgress()
  }
  const outcome = { value: undefined as unknown, error: undefined as unknown }
  const begin = () => {
    run.run().then(
      (value) => {
        outcome.value = value
      },
      (error) => {
        outcome.error = error
      },
    )
    return pass()
  }
  return { run, begin, confirm, outcome, sources, stored, sent, sink, window, source: () => sources.at(-1)! }
}

test('it is done when a mark has reached the end, all is settled and that is stored', async () => {
  const { begin, source, confirm, outcome, stored, sent, run } = stage()
  await begin()
  expect(source().position).toEqual({ lsn: 100n, partial: null })
  source().give(row(120n), row(120n, 1), commit(120n), row(192n), commit(192n))
  await pass()
  expect(sent.length).toBe(3)
  expect(outcome.value).toBeUndefined()
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
  expect(stored.at(-1)).toEqual({ lsn: 200n, partial: null })
  expect(run.counts).toEqual({ read: 3, matched: 3 })
  expect(source().stopped).toBe(true)
})

test('a row behind the end is not published, and ends it', async () => {
  const { begin, source, sent, confirm, outcome } = stage()
  await begin()
  source().give(row(150n), commit(150n), row(200n), commit(200n))
  expect(sent.map(({ commitLsn }) => commitLsn)).toEqual([150n])
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
})

test('what the filter leaves out is counted as read, and passed by what is stored', async () => {
  const { begin, source, outcome, stored, run } = stage({ admits: () => false })
  await begin()
  source().give(row(120n), commit(120n))
  await pass(1200)
  expect(stored.at(-1)).toEqual({ lsn: 128n, partial: null })
  source().give({ kind: 'idle', walEnd: 200n })
  await pass()
  expect(outcome.value).toBe('done')
  expect(run.counts).toEqual({ read: 1, matched: 0 })
})

test('a full window stops reading; a lost connection goes on where reading stopped, without a repeat', async () => {
  const { begin, source, sources, confirm, sent, outcome } = stage({}, { messages: 2, bytes: 1e9 })
  await begin()
  source().give(row(120n), row(120n, 1), row(120n, 2), commit(120n))
  expect(source().paused).toBe(true)
  expect(sent.length).toBe(2)
  source().handlers!.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'cut'))
  await pass(300)
  expect(sources.length).toBe(2)
  expect(source().position).toEqual({ lsn: 100n, partial: { commitLsn: 120n, rows: 2 } })
  confirm()
  source().give(row(120n, 2), commit(120n), { kind: 'idle', walEnd: 200n })
  expect(sent.map(({ ordinal }) => ordinal)).toEqual([2])
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
})

test('a window that is still full when the connection is made again stops reading at once', async () => {
  const again = { connect: () => {} }
  const sources: ScriptedSource[] = []
  const { begin, run, confirm, sent, outcome } = stage(
    {
      newSource: async () => {
        const source = new ScriptedSource()
        if (sources.push(source) > 1) {
          await new Promise<void>((resolve) => {
            again.connect = resolve
          })
        }
        return source
      },
    },
    { messages: 2, bytes: 1e9 },
  )
  await begin()
  sources[0]!.give(row(120n), row(120n, 1), row(120n, 2))
  sources[0]!.handlers!.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'cut'))
  await pass(300)
  // The broker says something while there is no connection to pause.
  run.onProgress()
  again.connect()
  await pass()
  expect(sources[1]!.handlers).toBeDefined()
  expect(sources[1]!.paused).toBe(true)
  confirm()
  expect(sources[1]!.paused).toBe(false)
  sources[1]!.give(row(120n, 2), commit(120n), { kind: 'idle', walEnd: 200n })
  expect(sent.map(({ ordinal }) => ordinal)).toEqual([2])
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
})

test('an unread socket is let go after 30 seconds, once another one stands that what it held was handed to', async () => {
  const sources: ScriptedSource[] = []
  const asked: { held: Source | undefined; stands: boolean | undefined }[] = []
  const newSource = async (_: StartPosition, held: Source | undefined) => {
    asked.push({ held, stands: sources.at(-1) && !sources.at(-1)!.stopped })
    const source = new ScriptedSource()
    sources.push(source)
    return source
  }
  const { begin, confirm, sent, outcome } = stage({ newSource }, { messages: 2, bytes: 1e9 })
  await begin()
  sources[0]!.give(row(120n), row(120n, 1), row(120n, 2))
  await pass(31_000)
  expect(asked).toEqual([
    { held: undefined, stands: undefined },
    { held: sources[0], stands: true },
  ])
  expect(sources.map(({ stopped, paused }) => ({ stopped, paused }))).toEqual([
    { stopped: true, paused: true },
    { stopped: false, paused: true },
  ])
  // What the old one still says is none of the new one's.
  sources[0]!.give(row(120n, 2))
  sources[0]!.handlers!.onEnd(undefined)
  sent.length = 2
  confirm()
  sources[1]!.give(row(120n, 2), commit(120n), { kind: 'idle', walEnd: 200n })
  expect(sent.map(({ ordinal }) => ordinal)).toEqual([2])
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
  expect(sources.length).toBe(2)
})

test('when the copy that was held is gone as well, another slot is looked for', async () => {
  const asked: (Source | undefined)[] = []
  const gone = new BridgeError('SLOT_MISSING', 'slot s_replay_1 does not exist')
  const sources = [new ScriptedSource(), new ScriptedSource(gone), new ScriptedSource()]
  const newSource = async (_: StartPosition, held: Source | undefined) => sources[asked.push(held) - 1]!
  const { begin } = stage({ newSource }, { messages: 1, bytes: 1e9 })
  await begin()
  sources[0]!.give(row(120n), row(120n, 1))
  await pass(31_000)
  expect(asked).toEqual([undefined, sources[0], undefined])
  expect(sources.map(({ stopped }) => stopped)).toEqual([true, true, false])
})

test('what is held is kept while a slot or a connection is short for a moment', async () => {
  const asked: (Source | undefined)[] = []
  const short = new BridgeError('SOURCE_TOO_MANY_CONNECTIONS', 'all replication slots are in use')
  const sources = [new ScriptedSource(), new ScriptedSource(short), new ScriptedSource()]
  const newSource = async (_: StartPosition, held: Source | undefined) => sources[asked.push(held) - 1]!
  const { begin } = stage({ newSource }, { messages: 1, bytes: 1e9 })
  await begin()
  sources[0]!.give(row(120n), row(120n, 1))
  await pass(30_200)
  expect([asked, sources[0]!.stopped]).toEqual([[undefined, sources[0]], false])
  await pass(1000)
  // Of the one that never stood nothing can be copied.
  expect(asked).toEqual([undefined, sources[0], sources[0]])
  expect(sources.map(({ stopped }) => stopped)).toEqual([true, true, false])
})

test('a stop lets go of what is held, too', async () => {
  const sources = [new ScriptedSource(), new ScriptedSource()]
  const connecting = { resolve: () => {} }
  let asked = 0
  const newSource = async () => {
    if (asked === 1) await new Promise<void>((resolve) => Object.assign(connecting, { resolve }))
    return sources[asked++]!
  }
  const { begin, run, confirm, outcome } = stage({ newSource }, { messages: 1, bytes: 1e9 })
  await begin()
  sources[0]!.give(row(120n), row(120n, 1))
  await pass(31_000)
  expect(sources[0]!.stopped).toBe(false)
  run.stop()
  confirm()
  connecting.resolve()
  await pass()
  expect(outcome.value).toBe('stopped')
  expect(sources[0]!.stopped).toBe(true)
})

test('a table may stay unread: at a low rate it is read once, and no row comes twice', async () => {
  const { begin, sources, sent, confirm, outcome } = stage({ mayRest: true, rate: new RateLimit(1 / 40) })
  await begin()
  sources[0]!.give(row(120n), row(120n, 1), row(120n, 2), commit(120n), { kind: 'idle', walEnd: 200n })
  await pass(81_000)
  expect(sources.length).toBe(1)
  expect(sent.map(({ ordinal }) => ordinal)).toEqual([0, 1, 2])
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
})

test('only what is stored is acknowledged, and only to the slot of this replay', async () => {
  const storing = { release: () => {} }
  const { begin, source, confirm } = stage({
    store: () =>
      new Promise((resolve) => {
        storing.release = resolve
      }),
  })
  await begin()
  source().give(row(120n), commit(120n))
  confirm()
  await pass(1200)
  expect(source().acknowledged).toEqual([])
  storing.release()
  await pass()
  expect(source().acknowledged).toEqual([128n])
})

test('while its progress cannot be stored it streams nothing, as a server that shuts down would wait for the stream', async () => {
  const storing = { release: () => {} }
  const { begin, source, sources, confirm, outcome } = stage({
    store: () =>
      new Promise((resolve) => {
        storing.release = resolve
      }),
  })
  await begin()
  source().give(row(120n), commit(120n))
  confirm()
  await pass(5500)
  expect(sources[0]!.stopped).toBe(false)
  await pass(20_000)
  expect(sources[0]!.stopped).toBe(true)
  expect(sources.length).toBe(1)
  expect(outcome.error).toBeUndefined()
  storing.release()
  await pass(300)
  expect(sources.length).toBe(2)
  expect(source().position).toEqual({ lsn: 128n, partial: null })
})

test.each([
  ['moved on', 'REPLAY_OUT_OF_REACH'],
  ['was dropped', 'SLOT_MISSING'],
  ['was invalidated', 'SLOT_INVALIDATED'],
] as const)('where the slot %s before it was copied another is looked for', async (_, code) => {
  const moved = new BridgeError(code, 'slot s_anchor_20260101000000')
  const sources = [new ScriptedSource(moved), new ScriptedSource()]
  let asked = 0
  const { begin, outcome } = stage({ newSource: async () => sources[asked++]! })
  await begin()
  await pass(300)
  expect(asked).toBe(2)
  sources[1]!.give({ kind: 'idle', walEnd: 200n })
  await pass()
  expect(outcome.value).toBe('done')
})

test('when no slot reaches back any more it fails at once', async () => {
  const { begin, outcome } = stage({
    newSource: () => Promise.reject(new BridgeError('REPLAY_OUT_OF_REACH', 'no slot reaches back')),
  })
  await begin()
  expect(outcome.error).toMatchObject({ code: 'REPLAY_OUT_OF_REACH' })
})

test('PostgreSQL may be away for the patience, and no longer', async () => {
  const { begin, outcome } = stage({
    newSource: () => Promise.reject(new BridgeError('SOURCE_UNREACHABLE', 'refused')),
    patience: 20_000,
  })
  await begin()
  await pass(19_000)
  expect(outcome.error).toBeUndefined()
  await pass(10_000)
  expect(outcome.error).toMatchObject({ code: 'SOURCE_UNREACHABLE' })
})

test('a broker that takes nothing ends it after the patience; one that refuses us, at once', async () => {
  const { begin, source, sink, outcome } = stage({ patience: 20_000 })
  await begin()
  source().give(row(120n))
  sink.state = 'connecting'
  sink.reason = new BridgeError('SINK_UNREACHABLE', 'refused')
  await pass(19_000)
  expect(outcome.error).toBeUndefined()
  sink.reason = new BridgeError('SINK_AUTH_FAILED', 'wrong password')
  await pass(200)
  expect(outcome.error).toMatchObject({ code: 'SINK_AUTH_FAILED' })
})

test('stop() reads no more, waits for what is on its way and stores it', async () => {
  const { begin, run, source, confirm, sent, outcome, stored } = stage()
  await begin()
  source().give(row(120n), row(120n, 1))
  run.stop()
  await pass()
  expect(source().stopped).toBe(true)
  expect(outcome.value).toBeUndefined()
  expect(sent.length).toBe(2)
  confirm()
  await pass()
  expect(outcome.value).toBe('stopped')
  expect(stored.at(-1)).toEqual({ lsn: 100n, partial: { commitLsn: 120n, rows: 2 } })
})

test('the rate holds back, pauses the source meanwhile, and loses nothing', async () => {
  const { begin, source, sent, confirm, outcome } = stage({ rate: new RateLimit(10) })
  await begin()
  source().give(...[0, 1, 2, 3].map((n) => row(120n, n)), commit(120n), { kind: 'idle', walEnd: 200n })
  expect(source().paused).toBe(true)
  await pass(150)
  expect(sent.length).toBeLessThan(4)
  await pass(400)
  expect(sent.map(({ ordinal }) => ordinal)).toEqual([0, 1, 2, 3])
  confirm()
  await pass(200)
  expect(outcome.value).toBe('done')
})

test('progress that cannot be stored ends it, without another try, which might take as long', async () => {
  let asked = 0
  const { begin, source, outcome } = stage({
    store: async () => {
      asked++
      throw new BridgeError('REPLAY_RUNNING', 'ended by somebody else')
    },
  })
  await begin()
  source().give(row(120n))
  await pass(1300)
  expect(outcome.error).toMatchObject({ code: 'REPLAY_RUNNING' })
  expect(asked).toBe(1)
})

test('a table that no longer fits the columns: what came before is delivered, then it fails', async () => {
  const { begin, source, sent, confirm, outcome } = stage({
    routing: {
      route: (one) => {
        if (one.ordinal === 1) throw new BridgeError('COLUMN_MISSING', 'payload is gone')
        return windowRow({ commitLsn: one.transaction.commitLsn, ordinal: one.ordinal }) as unknown as RoutedEvent
      },
    },
  })
  await begin()
  source().give(row(120n), row(120n, 1))
  await pass()
  expect(sent.length).toBe(1)
  expect(outcome.error).toBeUndefined()
  confirm()
  await pass()
  expect(outcome.error).toMatchObject({ code: 'COLUMN_MISSING' })
})

test('one that ends for a row which does not fit waits for the broker no longer than any other', async () => {
  const { begin, source, sink, outcome } = stage({
    patience: 20_000,
    routing: {
      route: (one) => {
        if (one.ordinal === 1) throw new BridgeError('COLUMN_MISSING', 'payload is gone')
        return windowRow({ commitLsn: one.transaction.commitLsn, ordinal: one.ordinal }) as unknown as RoutedEvent
      },
    },
  })
  await begin()
  sink.state = 'connecting'
  sink.reason = new BridgeError('SINK_UNREACHABLE', 'refused')
  source().give(row(120n), row(120n, 1))
  await pass(19_000)
  expect(outcome.error).toBeUndefined()
  await pass(2000)
  expect(outcome.error).toMatchObject({ code: 'COLUMN_MISSING' })
})

test('a rate slower than the patience is no standstill', async () => {
  const { begin, sources, confirm, outcome } = stage({ patience: 40_000, rate: new RateLimit(1 / 100) })
  const rows = [row(120n), row(120n, 1), row(120n, 2), commit(120n), { kind: 'idle', walEnd: 200n }] as const
  await begin()
  sources[0]!.give(...rows)
  confirm()
  // The socket is let go every 30 seconds.
  for (let seen = 1; seen <= 4; seen++) {
    await pass(31_000)
    if (sources.length > seen) sources.at(-1)!.give(...rows.slice(2))
  }
  expect(outcome.error).toBeUndefined()
  confirm()
  await pass()
  expect(outcome.value).toBe('done')
})
