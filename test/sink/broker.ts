import { type Channel, connect, type GetMessage } from 'amqplib'
import { onTestFinished } from 'vitest'
import { sharedRabbit, uniqueName } from '../support/services.ts'

export interface TestBroker {
  readonly url: string
  readonly channel: Channel
  ctl(...args: string[]): Promise<string>
  /** A new exchange, gone after the test. */
  exchange(type?: string): Promise<string>
  /** A new queue, bound if asked for, gone after the test. */
  queue(options?: { bind?: [exchange: string, key: string]; arguments?: Record<string, unknown> }): Promise<string>
  /** Takes every message that is in the queue. */
  drain(queue: string): Promise<GetMessage[]>
  /** A user with these permissions, gone after the test; the url that logs in as it. */
  user(permissions: { configure?: string; write?: string; read?: string }): Promise<{ name: string; url: string }>
}

/** The shared RabbitMQ with a channel of the test's own. */
export async function testBroker(): Promise<TestBroker> {
  const { url, ctl } = sharedRabbit()
  const connection = await connect(url)
  const channel = await connection.createChannel()
  onTestFinished(() => connection.close())
  const exchange = async (type = 'topic') => {
    const name = uniqueName('sink')
    await channel.assertExchange(name, type, { durable: true })
    onTestFinished(async () => void (await channel.deleteExchange(name)))
    return name
  }
  const queue: TestBroker['queue'] = async (options = {}) => {
    const name = uniqueName('sink')
    await channel.assertQueue(name, { durable: true, arguments: options.arguments ?? {} })
    onTestFinished(async () => void (await channel.deleteQueue(name)))
    if (options.bind !== undefined) await channel.bindQueue(name, ...options.bind)
    return name
  }
  const drain = async (name: string) => {
    const messages: GetMessage[] = []
    for (let m = await channel.get(name, { noAck: true }); m !== false; m = await channel.get(name, { noAck: true }))
      messages.push(m)
    return messages
  }
  const user: TestBroker['user'] = async ({ configure = '', write = '', read = '' }) => {
    const name = uniqueName('sink')
    await ctl('add_user', name, 'secret-word')
    onTestFinished(async () => void (await ctl('delete_user', name)))
    await ctl('set_permissions', name, configure, write, read)
    const login = new URL(url)
    login.username = name
    login.password = 'secret-word'
    return { name, url: login.href }
  }
  return { url, channel, ctl, exchange, queue, drain, user }
}
