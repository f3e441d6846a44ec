import amqp from 'amqplib'

/** Deletes what a test declared; what is not there is no error to RabbitMQ. */
export async function deleteTopology(url: string, names: { readonly exchange: string; readonly queue: string }) {
  const connection = await amqp.connect(url)
  const channel = await connection.createChannel()
  await channel.deleteQueue(names.queue)
  await channel.deleteExchange(names.exchange)
  await connection.close()
}
