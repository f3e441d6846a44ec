import { type Channel, connect } from 'amqplib'

/** Runs `work` on a channel of its own; the connection is closed after it. */
export async function withChannel<T>(
  { directUrl }: { readonly directUrl: string },
  work: (channel: Channel) => Promise<T>,
): Promise<T> {
  const connection = await connect(directUrl, { timeout: 10_000 })
  connection.on('error', () => undefined)
  try {
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    return await work(channel)
  } finally {
    await connection.close().catch(() => undefined)
  }
}
