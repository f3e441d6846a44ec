import { expect, onTestFinished, test } from 'vitest'
import { BrokerDialer } from '../../src/sink/amqp-connection.ts'
import { PublishChannel } from '../../src/sink/publish-channel.ts'
import { FakeAmqpServer } from '../support/fake-amqp-server.ts'
import { windowRow } from './window-rows.ts'

async function openChannel() {
  const broker = await FakeAmqpServer.start()
  onTestFinished(() => broker.close())
  const connection = await new BrokerDialer({ urls: async () => [broker.url] }).dial()
  onTestFinished(() => connection.close())
  const handlers = { onAnswer: () => undefined, onReturn: () => undefined }
  const channel = new PublishChannel(connection, await connection.openConfirmChannel(), handlers)
  let writes = 0
  const handle = (connection.socket as unknown as { _handle: Record<string, (...args: unknown[]) => unknown> })._handle
  for (const name of ['writev', 'writeBuffer', 'writeUtf8String', 'writeLatin1String']) {
    const write = handle[name]!
    handle[name] = (...args) => {
      writes++
      return write.apply(handle, args)
    }
  }
  return { broker, connection, channel, writes: () => writes }
}

const message = (n: number, size = 300) =>
  windowRow({ commitLsn: 0x10n, ordinal: n, message: { body: Buffer.alloc(size) } }).message!

// Guards what the cork takes for granted of amqplib's multiplexer: an upgrade may change it.
test('what is published in one turn goes out in one write', async () => {
  const { broker, channel, writes } = await openChannel()
  for (let turn = 1; turn <= 3; turn++) {
    for (let n = 0; n < 50; n++) channel.publish(message(n))
    await broker.published(turn * 50)
    expect(writes()).toBe(turn)
  }
})

test('a message that is published alone goes out at once', async () => {
  const { broker, channel, connection, writes } = await openChannel()
  channel.publish(message(0))
  await broker.published(1)
  expect(writes()).toBe(1)
  expect(connection.socket.writableCorked).toBe(0)
})

test('more than the socket takes at once goes out in few writes', async () => {
  const { broker, channel, connection, writes } = await openChannel()
  for (let n = 0; n < 800; n++) channel.publish(message(n, 5000))
  await broker.published(800)
  expect(writes()).toBeLessThan(100)
  expect(connection.socket.writableCorked).toBe(0)
})

test('the delivery tags are counted from 1, and what cannot be encoded takes none', async () => {
  const { broker, channel } = await openChannel()
  expect(channel.publish(message(0))).toBe(1)
  expect(() => channel.publish({ ...message(1), routingKey: 'k'.repeat(256) })).toThrow(TypeError)
  const headers = { large: 'x'.repeat(70_000) }
  const { properties } = message(1)
  expect(() => channel.publish({ ...message(1), properties: { ...properties, headers } })).toThrow(RangeError)
  expect(channel.publish(message(2))).toBe(2)
  await broker.published(2)
  expect(
    broker.publishes.map(({ tag, properties }) => [tag, (properties.headers as Record<string, number>)['wal-ordinal']]),
  ).toEqual([
    [1, 0],
    [2, 2],
  ])
})
