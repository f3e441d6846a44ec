import { expect, test } from 'vitest'
import type { FakeAmqpServer } from '../support/fake-amqp-server.ts'
import { ackAll, bodies, fakeBroker, rowsOf } from './fake-broker.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

test.each([
  ['a cut connection', (broker: FakeAmqpServer) => broker.last.cut()],
  ['a closed connection', (broker: FakeAmqpServer) => broker.last.closeConnection(320, 'CONNECTION_FORCED - bye')],
  ['an internal error', (broker: FakeAmqpServer) => broker.last.closeConnection(541, 'INTERNAL_ERROR - oops')],
  ['bytes that are no frame', (broker: FakeAmqpServer) => broker.last.write(Buffer.alloc(20, 0x7f))],
])('after %s the unsettled window is sent again, in order', async (_name, lose) => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 4)
  sink.flush()
  await broker.published(4)
  broker.last.ack(2)
  await until(() => sink.counters.confirmed === 1)
  lose(broker)
  await broker.published(7)
  expect(bodies(broker.publishes.slice(4))).toEqual(rowsOf('10', 0, 2, 3))
  expect(window.inFlight).toBe(3)
  broker.last.ack(3, true)
  await until(() => window.settled.lsn === end)
  expect(sink.counters).toMatchObject({ confirmed: 4, reconnects: 1 })
})

test.each(['ConnectionStartOk', 'ConnectionOpen', 'ChannelOpen', 'ExchangeDeclare', 'ConfirmSelect'])(
  'a connection that is cut at %s is tried again',
  async (at) => {
    let cuts = 0
    const broker = await fakeBroker({
      ...ackAll,
      onMethod: (name, _fields, connection) => {
        if (name !== at || cuts >= 2) return false
        cuts++
        connection.cut()
        return true
      },
    })
    const { window, sink, until } = startSink(broker.url, { exchanges: [{ name: 'outbox', key: 'sink.exchange' }] })
    pushTransaction(window, 0x10n, 2)
    sink.flush()
    await until(() => window.isEmpty)
    expect(cuts).toBe(2)
    expect(sink.state).toBe('open')
  },
)

test('a confirm that is overdue replaces the channel', async () => {
  const broker = await fakeBroker()
  const { window, sink, until, lines } = startSink(broker.url, { confirmTimeout: 100 })
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  broker.last.ack(2)
  await broker.published(3)
  broker.last.ack(1)
  await until(() => window.isEmpty)
  expect(lines.join()).toContain('no confirm for 0.1 s')
})

test('a blocked broker is waited for: nothing is sent, nothing is overdue, nothing reconnects', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url, { confirmTimeout: 100 })
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  const blockedAt = performance.now()
  broker.last.block('low on memory')
  await until(() => sink.state === 'blocked')
  expect(sink.reason?.message).toContain('low on memory')
  pushTransaction(window, 0x20n, 2)
  sink.flush()
  await until(() => performance.now() - blockedAt > 300)
  expect(broker.publishes).toHaveLength(2)
  expect(broker.connections).toHaveLength(1)
  broker.last.unblock()
  await broker.published(4)
  expect(sink.state).toBe('open')
  broker.last.ack(4, true)
  await until(() => window.isEmpty)
})

test('answers of a lost channel change nothing on the next one', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  broker.last.together(() => {
    broker.last.ack(9)
    broker.last.ack(2, true)
  })
  await broker.published(4)
  expect(sink.counters.confirmed).toBe(0)
  broker.last.ack(2, true)
  await until(() => window.isEmpty)
})

test('stop ends within a bound, calls nothing afterwards and leaves the rows unsettled', async () => {
  const broker = await fakeBroker({ onMethod: (name) => name === 'ConnectionClose' })
  const { window, sink, states } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  const reported = states.length
  await Promise.all([sink.stop(), sink.stop()])
  expect(sink.state).toBe('closed')
  expect(states).toHaveLength(reported)
  expect(window.inFlight).toBe(0)
  expect(window.messages).toBe(2)
  await broker.until(() => broker.last.closed)
})

test('stop ends a connection attempt that hangs, and urls that never come', async () => {
  const broker = await fakeBroker({ onMethod: () => true })
  const hanging = startSink(broker.url)
  await broker.until(() => broker.connections.length === 1)
  await hanging.sink.stop()
  const waiting = startSink(broker.url, { urls: () => new Promise(() => undefined) })
  await waiting.sink.stop()
  expect(waiting.sink.state).toBe('closed')
})

test('the urls are asked for anew and tried in turn', async () => {
  const broker = await fakeBroker(ackAll)
  let asked = 0
  const { window, sink, until } = startSink('', {
    urls: async () => (++asked < 3 ? ['amqp://127.0.0.1:1'] : ['amqp://127.0.0.1:1', broker.url]),
  })
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => window.isEmpty)
  expect(asked).toBe(3)
  expect(sink.reason).toBeUndefined()
})

test('a password never shows, whatever the connection fails with', async () => {
  const { sink, until, lines } = startSink('', {
    urls: async () => ['amqp://user:hunter2@127.0.0.1:1/v', 'amqps://user:hunter2@[bad/url', 'nonsense hunter2@x'],
  })
  await until(() => sink.reason !== undefined)
  expect(`${sink.reason?.message} ${lines.join()}`).not.toContain('hunter2')
})
