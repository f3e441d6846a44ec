import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { ackAll, bodies, fakeBroker, nackAll, returnAndAck, rowsOf, withoutExchange } from './fake-broker.ts'
import { ScriptedKeeper } from './scripted-keeper.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

const badHeader = { code: 'EVENT_INVALID', text: 'bad header' } as const

test('an event that is returned time and again is kept after its attempts, and then the position passes it', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      if (publish.body.toString().endsWith('#1')) returnAndAck(publish)
      else publish.connection.ack(publish.tag)
    },
  })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  const end = pushTransaction(window, 0x10n, 3)
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(keeper.kept).toEqual(['event-16-1 EVENT_UNROUTABLE'])
  expect(sink.counters).toMatchObject({ confirmed: 2, returned: 3, deadLettered: 1 })
  expect(sink.state).toBe('open')
})

test('the position does not pass an event before it is kept, while younger events are delivered', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  let keep = () => {}
  keeper.before = () =>
    new Promise((resolve) => {
      keep = resolve
    })
  const { window, sink, until } = startSink(broker.url, { keeper })
  const end = pushTransaction(window, 0x10n, 4, (n) => (n === 1 ? { refusal: badHeader } : {}))
  sink.flush()
  await until(() => sink.counters.confirmed === 3 && keeper.calls.length === 1)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 2, 3))
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 1 })
  keep()
  await until(() => window.settled.lsn === end)
})

test('without a place for dead letters the position stays, and the reason says which event and why', async () => {
  const broker = await fakeBroker({ onPublish: returnAndAck })
  const { window, sink, until } = startSink(broker.url, { mendInterval: 60_000 })
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(sink.reason?.code).toBe('EVENT_UNROUTABLE')
  expect(sink.reason?.message).toContain('no queue takes it, returned 3 times')
  pushTransaction(window, 0x20n, 1)
  broker.script = ackAll
  sink.flush()
  await until(() => sink.counters.confirmed === 1)
  expect(window.settled).toEqual({ lsn: 0n, partial: null })
})

test('while dead letters cannot be stored the sink says so, tries again, and sends none of them', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  keeper.failing = new BridgeError('SOURCE_PERMISSION_DENIED', 'table is gone')
  const { window, sink, until, lines } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { refusal: badHeader } : {}))
  sink.flush()
  await until(() => sink.state === 'stuck' && keeper.calls.length >= 3)
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 1 })
  expect(lines.filter((line) => line.includes('trying again') && line.includes('table is gone'))).toHaveLength(1)
  keeper.failing = undefined
  await until(() => window.isEmpty && sink.state === 'open')
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 2))
  expect([keeper.kept, sink.counters.deadLettered]).toEqual([['event-16-1 EVENT_INVALID'], 1])
})

test('a database that is away for a while blocks, and halts nothing', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  keeper.failing = new BridgeError('SOURCE_UNREACHABLE', 'scripted')
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 1, () => ({ refusal: badHeader }))
  sink.flush()
  await until(() => sink.state === 'blocked')
  expect(sink.reason?.code).toBe('SOURCE_UNREACHABLE')
  keeper.failing = undefined
  await until(() => window.isEmpty && sink.state === 'open')
})

test('an event is kept once, however often the connection is lost meanwhile', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  let keep = () => {}
  keeper.before = () =>
    new Promise((resolve) => {
      keep = resolve
    })
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { refusal: badHeader } : {}))
  sink.flush()
  await until(() => sink.counters.confirmed === 2 && keeper.calls.length === 1)
  for (const count of [1, 2]) {
    broker.last.cut()
    await until(() => sink.counters.reconnects === count)
  }
  keep()
  await until(() => window.isEmpty)
  expect([keeper.kept.length, keeper.calls, broker.publishes.length]).toEqual([1, [1], 2])
})

test('of a window with one poisonous event its neighbours arrive, and only the culprit is kept', async () => {
  const broker = await fakeBroker(withoutExchange)
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 5, (n) => (n === 2 ? { message: { exchange: 'gone' } } : {}))
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept).toEqual(['event-16-2 EVENT_REFUSED'])
  expect(sink.counters.confirmed).toBe(4)
  expect([...new Set(bodies(broker.publishes))].sort()).toEqual(rowsOf('10', 0, 1, 2, 3, 4))
})

test('the reason of a poisonous event is what the broker said', async () => {
  const broker = await fakeBroker(withoutExchange)
  const { window, sink, until } = startSink(broker.url, { mendInterval: 60_000 })
  pushTransaction(window, 0x10n, 1, () => ({ message: { exchange: 'gone' } }))
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(sink.reason?.code).toBe('EVENT_REFUSED')
  expect(sink.reason?.message).toContain("404 NOT_FOUND - no exchange 'gone' in vhost '/'")
})

test('an exchange that cost a channel is spared: later events to it cost none', async () => {
  const broker = await fakeBroker(withoutExchange)
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 20, (n) => {
    if (n === 5) return { refusal: { code: 'EVENT_TOO_LARGE', text: '20 MiB' } }
    return n % 8 === 3 ? { message: { exchange: 'gone' } } : {}
  })
  sink.flush()
  await until(() => window.isEmpty)
  const kept = ['11 EVENT_REFUSED', '19 EVENT_REFUSED', '3 EVENT_REFUSED', '5 EVENT_TOO_LARGE']
  expect(keeper.kept.toSorted()).toEqual(kept.map((one) => `event-16-${one}`))
  expect(sink.counters).toMatchObject({ confirmed: 16, reconnects: 2 })
})

test('after 406 the next event to the same exchange is sent as any other', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, body, tag }) => {
      if (body.toString() === 'poison') connection.closeChannel(406, 'PRECONDITION_FAILED - invalid expiration')
      else connection.ack(tag)
    },
  })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 4, (n) => (n === 1 ? { body: 'poison' } : {}))
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept).toEqual(['event-16-1 EVENT_REFUSED'])
  expect(sink.counters.confirmed).toBe(3)
})

test('a culprit is not blamed when it turns out that its exchange is gone for all', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection }) => connection.closeChannel(404, 'NOT_FOUND - no exchange'),
    onMethod: (name, _fields, connection) => {
      if (name !== 'ExchangeDeclare' || broker.connections.length < 3) return false
      connection.closeChannel(404, 'NOT_FOUND - no exchange')
      return true
    },
  })
  const keeper = new ScriptedKeeper()
  const exchanges = [{ name: 'outbox', key: 'sink.exchange' }]
  const { window, sink, until } = startSink(broker.url, { exchanges, keeper })
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_EXCHANGE_MISSING')
  broker.script = ackAll
  await until(() => window.isEmpty)
  expect(keeper.calls).toEqual([])
  expect(sink.counters.confirmed).toBe(3)
})

test('what AMQP cannot encode is kept alone and does not close the channel', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { message: { routingKey: 'k'.repeat(300) } } : {}))
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept).toEqual(['event-16-1 EVENT_INVALID'])
  expect(broker.connections).toHaveLength(1)
})

test('an event on its way to the dead letters that a reset takes away comes again, and is sent', async () => {
  const broker = await fakeBroker(nackAll)
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => sink.state === 'stuck')
  broker.script = ackAll
  window.reset({ lsn: 0x08n, partial: null })
  const end = pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => window.settled.lsn === end && sink.state === 'open')
  expect(sink.counters).toMatchObject({ confirmed: 1, deadLettered: 0 })
})

test('a flood to a dead route costs one publish for each event, and no retries after the first one', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      if (publish.routingKey === 'nowhere') returnAndAck(publish)
      else publish.connection.ack(publish.tag)
    },
  })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 1, () => ({ message: { routingKey: 'nowhere' } }))
  sink.flush()
  await until(() => window.isEmpty)
  expect(broker.publishes).toHaveLength(3)
  pushTransaction(window, 0x20n, 400, (n) => (n % 2 === 0 ? { message: { routingKey: 'nowhere' } } : {}))
  sink.flush()
  await until(() => window.isEmpty)
  expect(broker.publishes).toHaveLength(403)
  expect([keeper.kept.length, sink.counters.confirmed]).toEqual([201, 200])
})
