import { expect } from 'vitest'
import { comparePositions } from '../../src/checkpoint/positions.ts'
import type { SettledPosition } from '../../src/sink/confirm-window.ts'
import { ConfirmWindow } from '../../src/sink/confirm-window.ts'
import { PublishLease } from '../../src/sink/publish-lease.ts'
import type { SourceEvent } from '../../src/source/source.ts'
import { commit, row, scriptedBridge } from '../scripted-parts.ts'
import type { FakeAmqpScript, FakeConnection, FakePublish } from '../support/fake-amqp-server.ts'
import { fakeBroker } from './fake-broker.ts'
import { ScriptedKeeper } from './scripted-keeper.ts'
import { startSink } from './sink-harness.ts'

/** Each row that came in, by the body of its message. */
interface LedgerRow {
  readonly commitLsn: bigint
  readonly endLsn: bigint
  readonly ordinal: number
}

type BrokerStageOptions = Omit<Parameters<typeof startSink>[1] & object, 'window' | 'lease'> & {
  /** What the broker does from its first connection on. */
  readonly script?: FakeAmqpScript
}

/**
 * The whole bridge, with a scripted source and checkpoint, before a scripted broker. The ledger knows which messages the
 * broker has taken: a position is never stored above one that it has not, and that is not a dead letter either.
 */
export async function brokerStage(options: BrokerStageOptions = {}) {
  const broker = await fakeBroker(options.script)
  const keeper = new ScriptedKeeper()
  const lease = new PublishLease()
  const window = new ConfirmWindow(options.limits ?? { messages: 2000, bytes: 32 * 1024 * 1024 })
  const rows = new Map<string, LedgerRow>()
  const taken = new Set<string>()
  const returned = new Set<FakePublish>()
  const stored: SettledPosition[] = []
  const breaches: string[] = []
  let session: ReturnType<typeof scriptedBridge> | undefined
  const { sink, until, states, lines } = startSink(broker.url, {
    keeper,
    ...options,
    window,
    lease,
    onProgress: () => session?.bridge.onProgress(),
  })

  const check = (position: SettledPosition) => {
    for (const [body, { commitLsn, endLsn, ordinal }] of rows) {
      const kept = keeper.kept.some((one) => one.startsWith(`event-${commitLsn}-${ordinal} `))
      if (taken.has(body) || kept) continue
      const inside = position.partial?.commitLsn === commitLsn && ordinal < position.partial.rows
      if (inside || endLsn <= position.lsn) breaches.push(`stored past ${body}, which the broker has not taken`)
    }
    const last = stored.at(-1)
    if (last !== undefined && comparePositions(position, last) < 0) breaches.push('stored position went back')
    stored.push(position)
  }

  /** A session that streams. It goes on where the window ends, or starts anew from `start`. */
  const startSession = async (start?: SettledPosition) => {
    const parts = scriptedBridge({ window, sink, lease, timings: { storeInterval: 1, watchInterval: 0 } })
    session = parts
    const position = start ?? window.received
    const resumed = stored.at(-1) ?? { lsn: 0n, partial: null }
    parts.checkpoint.resumes = {
      ...{ start: position, remembered: start === undefined, stored: resumed, acknowledged: resumed.lsn },
    }
    const store = parts.checkpoint.store.bind(parts.checkpoint)
    parts.checkpoint.store = (stores, count) => {
      check(stores)
      return store(stores, count)
    }
    const run = parts.bridge.run()
    // Who waits for it may come later than the rejection.
    run.catch(() => undefined)
    await parts.streaming
    /** Waits until the session has looked so many times whether there is something to store. */
    const looks = (count: number) =>
      new Promise<void>((resolve) => {
        parts.checkpoint.watching = async () => {
          if (--count === 0) resolve()
        }
      })
    /** A transaction comes in. Returns the end LSN that is stored once all of it is delivered. */
    const receive = (commitLsn: bigint, count: number): bigint => {
      const events: SourceEvent[] = Array.from({ length: count }, (_, ordinal) => row(commitLsn, ordinal))
      for (let ordinal = 0; ordinal < count; ordinal++)
        rows.set(`0/${commitLsn.toString(16).toUpperCase()}#${ordinal}`, { commitLsn, endLsn: commitLsn + 8n, ordinal })
      parts.source.handlers.onEvents([...events, commit(commitLsn)])
      return commitLsn + 8n
    }
    /** Waits until all up to `lsn` is stored, ends the session in order, and says what the ledger found. */
    const finish = async (lsn: bigint) => {
      await expect.poll(() => stored.at(-1), { timeout: 5000, interval: 5 }).toEqual({ lsn, partial: null })
      parts.bridge.stop()
      await run
      expect(breaches).toEqual([])
      expect(parts.source.acknowledged.every((one) => stored.some((position) => one <= position.lsn))).toBe(true)
      expect([...rows.keys()].filter((body) => !taken.has(body)).length).toBe(keeper.kept.length)
    }
    return { ...parts, run, looks, receive, finish }
  }

  const take = (publishes: readonly FakePublish[]) => {
    for (const publish of publishes) if (!returned.has(publish)) taken.add(publish.body.toString())
  }
  /** The broker has the messages that this confirms, and says so. */
  const ack = (tag: number, multiple = false, connection: FakeConnection = broker.last) => {
    const own = broker.publishes.filter((publish) => publish.connection === connection)
    take(own.filter((publish) => (multiple ? publish.tag <= tag : publish.tag === tag)))
    connection.ack(tag, multiple)
  }
  /** No queue takes it: basic.return, which its ack is to follow. */
  const giveBack = (publish: FakePublish) => {
    returned.add(publish)
    publish.connection.return(publish)
  }
  const takeAll: FakeAmqpScript = {
    onPublish: (publish) => {
      take([publish])
      publish.connection.ack(publish.tag)
    },
  }
  return {
    broker,
    keeper,
    window,
    sink,
    lease,
    until,
    states,
    lines,
    stored,
    startSession,
    take,
    ack,
    giveBack,
    takeAll,
  }
}
