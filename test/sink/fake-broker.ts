import { onTestFinished } from 'vitest'
import { type FakeAmqpScript, FakeAmqpServer, type FakePublish } from '../support/fake-amqp-server.ts'

/** A scripted AMQP server, gone after the test. */
export async function fakeBroker(script: FakeAmqpScript = {}): Promise<FakeAmqpServer> {
  const server = await FakeAmqpServer.start(script)
  onTestFinished(() => server.close())
  return server
}

export const ackAll: FakeAmqpScript = { onPublish: ({ connection, tag }) => connection.ack(tag) }

export const nackAll: FakeAmqpScript = { onPublish: ({ connection, tag }) => connection.nack(tag) }

/** What RabbitMQ says for a message that no queue takes: basic.return, then an ack. */
export function returnAndAck(publish: FakePublish): void {
  publish.connection.return(publish)
  publish.connection.ack(publish.tag)
}

/** A broker without the exchange `gone`. */
export const withoutExchange: FakeAmqpScript = {
  onPublish: ({ connection, exchange, tag }) => {
    if (exchange === 'gone') connection.closeChannel(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    else connection.ack(tag)
  },
}

export const bodies = (publishes: readonly FakePublish[]) => publishes.map(({ body }) => body.toString())

/** The bodies of these rows of the transaction that commits at `0/commit`. */
export const rowsOf = (commit: string, ...ordinals: number[]) => ordinals.map((n) => `0/${commit}#${n}`)
