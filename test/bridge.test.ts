import { afterEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { ConfirmWindow } from '../src/sink/confirm-window.ts'
import { at, commit, gate, row, scriptedBridge } from './scripted-parts.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))
const lost = () => new BridgeError('SOURCE_CONNECTION_LOST', 'scripted')

afterEach(() => {
  vi.restoreAllMocks()
})

test('a session resumes, starts, claims, and reads only then; it drains, stores and acknowledges before it ends', async () => {
  const { bridge, source, calls, streaming, confirm } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n)])
  bridge.stop()
  await turn()
  confirm()
  await run
  expect(calls).toEqual([
    ...['resume', 'start 16', 'claim', 'claimed', 'history start', 'streaming', 'read'],
    ...['pause', 'store 40', 'stored 40', 'acknowledge 40', 'history stop', 'stop source', 'close'],
  ])
})

test('what is settled is stored while streaming, and acknowledged only once PostgreSQL has answered', async () => {
  const { bridge, source, checkpoint, streaming, confirm } = scriptedBridge()
  const answer = gate<bigint>()
  const asked = gate()
  checkpoint.storing = () => {
    asked.open()
    return answer.promise
  }
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  confirm(1)
  await asked.promise
  await turn()
  expect(source.acknowledged).toEqual([])
  // Settled meanwhile: it belongs to the next store.
  confirm(1)
  answer.open(0n)
  await expect.poll(() => checkpoint.stored.length).toBe(2)
  expect(checkpoint.stored.map(({ position, rows }) => [position.lsn, rows])).toEqual([
    [0x28n, 1],
    [0x38n, 1],
  ])
  expect(source.acknowledged).toEqual([0x28n, 0x38n])
  bridge.stop()
  await run
})

test('inside a transaction its rows are stored, and the slot is told no more than the end of the one before', async () => {
  const { bridge, source, checkpoint, streaming, confirm } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), row(0x20n, 1), row(0x20n, 2)])
  confirm(2)
  await expect.poll(() => checkpoint.stored.length).toBe(1)
  expect(checkpoint.stored[0]?.position).toEqual(at(0x10n, 0x20n, 2))
  expect(source.acknowledged).toEqual([0x10n])
  source.handlers.onEnd(lost())
  await expect(run).rejects.toThrow('scripted')
})

test.each(['CHECKPOINT_STORE_FAILED', 'CHECKPOINT_FENCED'] as const)(
  'a store that fails with %s ends the session, and nothing is acknowledged',
  async (code) => {
    const { bridge, source, checkpoint, calls, streaming, confirm } = scriptedBridge()
    checkpoint.storing = async () => {
      throw new BridgeError(code, 'scripted')
    }
    const run = bridge.run()
    await streaming
    source.handlers.onEvents([row(0x20n), commit(0x20n)])
    confirm()
    await expect(run).rejects.toMatchObject({ code })
    expect(source.acknowledged).toEqual([])
    expect(calls.slice(-2)).toEqual(['stop source', 'close'])
  },
)

test('a session that lost the race for the row reads nothing', async () => {
  const { bridge, checkpoint, calls } = scriptedBridge()
  checkpoint.claiming = Promise.reject(new BridgeError('CHECKPOINT_FENCED', 'scripted'))
  await expect(bridge.run()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  expect(calls).toEqual(['resume', 'start 16', 'claim', 'stop source', 'close'])
})

test('a full window stops the reading, and room in it starts it again', async () => {
  const { bridge, source, window, calls, streaming, confirm } = scriptedBridge()
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([0x20n, 0x30n, 0x40n, 0x50n].flatMap((lsn) => [row(lsn), commit(lsn)]))
  source.handlers.onEvents([row(0x60n), commit(0x60n)]) // had been parsed before the pause
  expect(calls.filter((call) => call === 'pause' || call === 'read')).toEqual(['read', 'pause'])
  confirm(1)
  expect(calls.at(-1)).not.toBe('read')
  confirm(2)
  expect(calls.at(-1)).toBe('read')
  expect(window.messages).toBe(2)
  source.handlers.onEnd(lost())
  await expect(run).rejects.toThrow('scripted')
})

test('a window that stays full lets the connection go, and keeps what it holds', async () => {
  const { bridge, source, window, streaming } = scriptedBridge({ timings: { backpressureTimeout: 30 } })
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), row(0x20n, 1), row(0x20n, 2), row(0x20n, 3)])
  await expect(run).rejects.toMatchObject({ code: 'SOURCE_BACKPRESSURE' })
  expect([window.messages, window.received]).toEqual([4, at(0x10n, 0x20n, 4)])
})

test('the next session goes on where the kept window ends, and does not read while it is full', async () => {
  const first = scriptedBridge()
  const run = first.bridge.run()
  await first.streaming
  const { window } = first
  first.source.handlers.onEvents([row(0x20n), row(0x20n, 1), row(0x20n, 2), row(0x20n, 3)])
  first.source.handlers.onEnd(lost())
  await expect(run).rejects.toThrow('scripted')

  const next = scriptedBridge({ window })
  next.checkpoint.resumes = { ...next.checkpoint.resumes, start: window.received, remembered: true }
  const second = next.bridge.run()
  await next.streaming
  await turn()
  expect(next.checkpoint.received).toEqual(at(0x10n, 0x20n, 4))
  expect(window.messages).toBe(4)
  expect(next.calls).not.toContain('read')
  next.confirm(3)
  expect(next.calls.at(-1)).toBe('read')
  next.source.handlers.onEvents([row(0x20n, 4), commit(0x20n)])
  next.confirm()
  await expect.poll(() => next.checkpoint.stored.at(-1)?.position).toEqual(at(0x28n))
  next.bridge.stop()
  await second
})

test('rows that settled between two sessions are stored and counted by the next, as soon as any others', async () => {
  const first = scriptedBridge()
  const run = first.bridge.run()
  await first.streaming
  const { window } = first
  first.source.handlers.onEvents([row(0x20n), commit(0x20n)])
  first.source.handlers.onEnd(lost())
  await expect(run).rejects.toThrow('scripted')
  first.confirm()

  const next = scriptedBridge({ window })
  next.checkpoint.resumes = { ...next.checkpoint.resumes, start: window.received, remembered: true }
  const second = next.bridge.run()
  await expect.poll(() => next.checkpoint.stored).toEqual([{ position: at(0x28n), rows: 1 }])
  next.bridge.stop()
  await second
})

test('a session that starts from the row forgets the window, and takes nothing that settled of it for stored', async () => {
  const window = new ConfirmWindow({ messages: 4, bytes: 1_000_000 })
  const first = scriptedBridge({ window })
  const run = first.bridge.run()
  await first.streaming
  first.source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  first.source.handlers.onEnd(lost())
  await expect(run).rejects.toThrow('scripted')

  const next = scriptedBridge({ window })
  const second = next.bridge.run()
  await next.streaming
  expect([window.messages, window.received, window.settled]).toEqual([0, at(0x10n), at(0x10n)])
  next.source.handlers.onEvents([row(0x20n), commit(0x20n)])
  // The answers to what was forgotten come late.
  next.confirm(2)
  await turn()
  expect(window.settled).toEqual(at(0x10n))
  next.confirm(1)
  expect(window.settled).toEqual(at(0x28n))
  next.bridge.stop()
  await second
  expect(next.checkpoint.stored.at(-1)?.rows).toBe(1)
})

/** Routing that finds the table changed at the transaction 0x30. */
function refusing(parts: ReturnType<typeof scriptedBridge>): void {
  const { routing } = parts
  const route = routing.route.bind(routing)
  routing.route = (one) => {
    if (one.transaction.commitLsn === 0x30n) throw new BridgeError('COLUMN_MISSING', 'scripted')
    return route(one)
  }
}

test('a row that routing cannot take ends the session, once all before it is stored and with nothing after it', async () => {
  const parts = scriptedBridge()
  refusing(parts)
  const { bridge, source, checkpoint, window, streaming, confirm } = parts
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n), row(0x40n)])
  source.handlers.onEvents([row(0x40n, 1), commit(0x40n)])
  await turn()
  confirm()
  await expect(run).rejects.toMatchObject({ code: 'COLUMN_MISSING' })
  expect(window.received).toEqual(at(0x28n))
  expect([checkpoint.stored.at(-1)?.position, source.acknowledged.at(-1)]).toEqual([at(0x28n), 0x28n])
})

test('what came before such a row and could not go out in time goes out with the next session', async () => {
  const parts = scriptedBridge({ timings: { drainTimeout: 20 } })
  refusing(parts)
  const { bridge, source, sink, window, streaming } = parts
  sink.flush = () => {}
  const run = bridge.run()
  await streaming
  source.handlers.onEvents([row(0x20n), commit(0x20n), row(0x30n), commit(0x30n)])
  await expect(run).rejects.toMatchObject({ code: 'COLUMN_MISSING' })
  expect([window.received, window.inFlight]).toEqual([at(0x28n), 0])

  const next = scriptedBridge({ window })
  next.checkpoint.resumes = { ...next.checkpoint.resumes, start: window.received, remembered: true }
  const second = next.bridge.run()
  await next.streaming
  expect(window.inFlight).toBe(1)
  next.confirm()
  next.bridge.stop()
  await second
})

test('a publication that no longer carries the table ends the session, and that is noted for retention', async () => {
  const { bridge, calls, checkpoint, streaming } = scriptedBridge({ timings: { watchInterval: 0 } })
  checkpoint.watching = async () => {
    throw new BridgeError('PUBLICATION_INCOMPLETE', 'scripted')
  }
  const run = bridge.run()
  await streaming
  await expect(run).rejects.toMatchObject({ code: 'PUBLICATION_INCOMPLETE' })
  expect(calls.filter((call) => /^(unstreamed|close)$/.test(call))).toEqual(['unstreamed', 'close'])
})
