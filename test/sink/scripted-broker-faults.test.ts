import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import type { FakeConnection } from '../support/fake-amqp-server.ts'
import { bodies, rowsOf } from './fake-broker.ts'
import { brokerStage } from './scripted-broker-stage.ts'

const exchanges = [{ name: 'outbox', key: 'sink.exchange' }]

test('confirms that come after the channel was given up change nothing, and store nothing', async () => {
  const { broker, sink, stored, ack, startSession } = await brokerStage({ confirmTimeout: 100 })
  const session = await startSession()
  const end = session.receive(0x10n, 3)
  await broker.published(3)
  const [first] = broker.connections
  // It answers late, and not at all to the goodbye: its connection is still open.
  broker.script = {
    onMethod: (name, _fields, connection) => {
      if (name !== 'ConnectionClose' || connection !== first) return false
      connection.ack(3, true)
      return true
    },
  }
  await broker.published(6)
  first?.ack(3, true)
  await session.looks(5)
  expect([stored, sink.counters.confirmed]).toEqual([[], 0])
  ack(3, true)
  await session.finish(end)
  expect(bodies(broker.publishes)).toEqual([...rowsOf('10', 0, 1, 2), ...rowsOf('10', 0, 1, 2)])
})

test('confirms for what a new session forgot settle nothing of what came in since', async () => {
  const { broker, sink, until, stored, startSession, ack } = await brokerStage()
  const first = await startSession()
  first.receive(0x10n, 3)
  await broker.published(3)
  first.bridge.stop()
  first.checkpoint.onLost(new BridgeError('SOURCE_SHUTTING_DOWN', 'scripted'))
  await first.run.catch(() => undefined)
  const second = await startSession({ lsn: 0x08n, partial: null })
  const end = second.receive(0x10n, 3)
  await broker.published(6)
  broker.last.ack(3, true)
  broker.last.nack(4)
  await until(() => sink.counters.nacked === 1)
  await second.looks(5)
  expect(stored).toEqual([])
  await broker.published(7)
  ack(7, true)
  await second.finish(end)
})

const ways: readonly [string, (connection: FakeConnection) => void][] = [
  ['cut', (connection) => connection.cut()],
  ['closed by the broker', (connection) => connection.closeConnection(320, 'CONNECTION_FORCED - bye')],
  ['answered with bytes that are no frame', (connection) => connection.write(Buffer.alloc(20, 0x7f))],
  [
    'cut inside of a frame',
    (connection) => {
      connection.write(Buffer.from([1, 0, 1, 0, 0, 0, 13, 0, 60]))
      setImmediate(() => connection.cut())
    },
  ],
]
const methods = [
  ...['ConnectionStartOk', 'ConnectionTuneOk', 'ConnectionOpen'],
  ...['ChannelOpen', 'ExchangeDeclare', 'ChannelClose', 'ConfirmSelect'],
]

test.each(ways.flatMap(([name, way]) => methods.map((method) => [name, method, way] as const)))(
  'a connection that is %s at %s, twice, loses nothing and stores nothing early',
  async (_name, method, way) => {
    let faults = 0
    const { broker, takeAll, startSession } = await brokerStage({
      exchanges,
      script: {
        onMethod: (name, _fields, connection) => {
          if (name !== method || faults === 2) return false
          faults++
          way(connection)
          return true
        },
      },
    })
    Object.assign(broker.script, takeAll)
    const session = await startSession()
    await session.finish(session.receive(0x10n, 4))
    expect(faults).toBe(2)
  },
)

test.each(
  ways.flatMap(([name, way]) =>
    [1, 3, 6].flatMap((nth) => [
      [name, nth, 'which it has not taken', false, way] as const,
      [name, nth, 'which it has taken without a word', true, way] as const,
    ]),
  ),
)(
  'a connection that is %s at publish %i, %s, sends the unsettled rows again and no others',
  async (_name, nth, _what, takes, way) => {
    const { broker, take, takeAll, startSession } = await brokerStage()
    let faults = 0
    broker.script = {
      onPublish: (publish) => {
        if (publish.body.toString() === `0/10#${nth - 1}` && faults < 2) {
          faults++
          if (takes) take([publish])
          way(publish.connection)
        } else if (!publish.connection.closed) takeAll.onPublish?.(publish)
      },
    }
    const session = await startSession()
    await session.finish(session.receive(0x10n, 6))
    expect(faults).toBe(2)
    const firsts = [...new Set(bodies(broker.publishes))]
    expect(firsts).toEqual(rowsOf('10', 0, 1, 2, 3, 4, 5))
  },
)

test('a channel that is closed at a publish costs only the event for which it is closed', async () => {
  const { broker, keeper, takeAll, startSession } = await brokerStage()
  broker.script = {
    onPublish: (publish) => {
      if (publish.body.toString() === '0/10#2') publish.connection.closeChannel(406, 'PRECONDITION_FAILED - scripted')
      else takeAll.onPublish?.(publish)
    },
  }
  const session = await startSession()
  await session.finish(session.receive(0x10n, 6))
  expect(keeper.kept).toEqual(['event-16-2 EVENT_REFUSED'])
})

test('a broker that goes silent is given up when its confirms are overdue, and nothing is stored before', async () => {
  const { broker, sink, stored, lines, takeAll, startSession } = await brokerStage({ confirmTimeout: 150 })
  const session = await startSession()
  const end = session.receive(0x10n, 5)
  await broker.published(5)
  await session.looks(5)
  expect(stored).toEqual([])
  broker.script = takeAll
  await session.finish(end)
  expect([sink.counters.published, sink.counters.reconnects]).toEqual([10, 1])
  expect(lines.join()).toContain('no confirm for 0.15 s')
})

test('a broker that stops reading in the middle of the window is given up as well', async () => {
  const { broker, sink, takeAll, startSession } = await brokerStage({ confirmTimeout: 150 })
  broker.script = {
    onPublish: (publish) => {
      if (broker.connections.length === 1) publish.connection.stall()
      else takeAll.onPublish?.(publish)
    },
  }
  const session = await startSession()
  const end = session.receive(0x10n, 200)
  await session.finish(end)
  expect(sink.counters.reconnects).toBe(1)
})

test('a broker that stalls while the connection is made is tried anew', async () => {
  let stalls = 0
  const { broker, takeAll, startSession } = await brokerStage({
    connectTimeout: 100,
    script: { onMethod: (name) => name === 'ConnectionOpen' && stalls++ < 2 },
  })
  Object.assign(broker.script, takeAll)
  const session = await startSession()
  await session.finish(session.receive(0x10n, 3))
  expect(stalls).toBe(3)
})

test('after the end of a session nothing more is published until the next one has its claim', async () => {
  const { broker, window, sink, until, take, takeAll, startSession } = await brokerStage({
    limits: { messages: 2, bytes: 1e6 },
  })
  const first = await startSession()
  const end = first.receive(0x10n, 5)
  await broker.published(2)
  first.source.handlers.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'scripted'))
  await first.run.catch(() => undefined)
  // Answers for what was in flight still count, and make room in which nothing is sent.
  take(broker.publishes)
  broker.last.ack(2, true)
  await until(() => sink.counters.confirmed === 2)
  sink.flush()
  broker.last.cut()
  await until(() => sink.counters.reconnects === 1)
  sink.flush()
  expect([broker.publishes.length, window.messages, window.inFlight]).toEqual([2, 3, 0])
  expect(window.nextUnsent()?.ordinal).toBe(2)
  const second = await startSession()
  await broker.published(4)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 2, 3))
  broker.script = takeAll
  take(broker.publishes)
  broker.last.ack(2, true)
  await second.finish(end)
})
