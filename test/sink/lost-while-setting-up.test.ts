import { expect, onTestFinished, test } from 'vitest'
import { prepareBroker } from '../../src/sink/broker-setup.ts'
import { FakeAmqpServer, type FakeConnection } from '../support/fake-amqp-server.ts'
import { noTopology, startSink } from './sink-harness.ts'

// amqplib never answers a channel's close() when the connection ends first: the sink connected for ever, and could not
// even be stopped, when that happened while it looked at its exchanges.

const exchanges = [{ name: 'outbox', key: 'sink.exchange' }]

async function brokerWhere(onChannelClose: (connection: FakeConnection, count: number) => boolean) {
  let count = 0
  const broker = await FakeAmqpServer.start({
    onMethod: (name, _fields, connection) => name === 'ChannelClose' && onChannelClose(connection, ++count),
  })
  onTestFinished(() => broker.close())
  return broker
}

/** Instead of an answer to the first close of a channel. */
const cutAtFirst = (connection: FakeConnection, count: number) => {
  if (count === 1) connection.cut()
  return count === 1
}

test('a connection that is cut while a channel closes is made again', async () => {
  const broker = await brokerWhere(cutAtFirst)
  const { sink, until } = startSink(broker.url, { exchanges })
  await until(() => sink.state === 'open')
  expect(broker.connections).toHaveLength(2)
})

test('a stop while a channel closes ends at once', async () => {
  let closing = false
  const broker = await brokerWhere(() => {
    closing = true
    return true
  })
  const { sink } = startSink(broker.url, { exchanges })
  await broker.until(() => closing)
  const before = performance.now()
  await sink.stop()
  expect(performance.now() - before).toBeLessThan(2000)
})

test('init does not wait for a broker that is gone', async () => {
  const broker = await brokerWhere(cutAtFirst)
  const prepared = prepareBroker({
    urls: async () => [broker.url],
    exchange: 'outbox',
    topology: noTopology,
    create: true,
  })
  await expect(prepared).rejects.toMatchObject({ code: 'SINK_CONNECTION_LOST' })
})
