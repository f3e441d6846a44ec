// The other side of the comparison: what one writes by hand with amqplib, in a process of its own. One confirm channel, a
// bounded number of outstanding messages, a callback for each confirm, no delay on the socket. It is plain JavaScript, so
// that no loader adds to its memory, and its bodies are ready before the clock starts: it is charged for publishing alone.
//
// Gets { url, exchange, events, window, pool } as a message from its parent and answers { elapsed_ms, cpu_us, peak_bytes }.
import amqp from 'amqplib'

process.once('message', async (job) => {
  try {
    process.send(await publishAll(job))
    process.disconnect()
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
})

async function publishAll({ url, exchange, events, window, pool }) {
  const connection = await amqp.connect(url, { noDelay: true })
  const channel = await connection.createConfirmChannel()
  channel.on('return', () => {
    console.error('a message was returned: no queue is bound')
    process.exit(1)
  })
  const ready = pool.map((event) => ({
    ...event,
    body: Buffer.from(event.body),
    routingKey: `${event.aggregateType}.${event.type}`,
  }))
  const usage = await new Promise((resolve, reject) => {
    let sent = 0
    let confirmed = 0
    const startedAt = performance.now()
    const cpuBefore = process.cpuUsage()
    const onConfirm = (error) => {
      if (error !== null) return reject(error)
      confirmed++
      if (confirmed === events) {
        const { user, system } = process.cpuUsage(cpuBefore)
        resolve({
          elapsed_ms: performance.now() - startedAt,
          cpu_us: user + system,
          peak_bytes: process.resourceUsage().maxRSS * 1024,
        })
      } else publish()
    }
    const publish = () => {
      while (sent < events && sent - confirmed < window) {
        const event = ready[sent % ready.length]
        channel.publish(exchange, event.routingKey, event.body, propertiesOf(event, sent), onConfirm)
        sent++
      }
    }
    publish()
  })
  await connection.close()
  return usage
}

function propertiesOf(event, n) {
  return {
    messageId: `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`,
    type: event.type,
    contentType: 'application/json',
    timestamp: 1769903999,
    appId: 'wal2rabbit',
    persistent: true,
    mandatory: true,
    headers: {
      aggregate_type: event.aggregateType,
      aggregate_id: event.aggregateId,
      'wal-lsn': '16/B374D848',
      'wal-ordinal': n % 10,
      'wal-committed-at': '2026-01-31T23:59:59.123456Z',
    },
  }
}
