import { expect, onTestFinished, test } from 'vitest'
import { type FakeAmqpScript, FakeAmqpServer, type FakePublish } from '../support/fake-amqp-server.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

async function fakeBroker(script: FakeAmqpScript = {}): Promise<FakeAmqpServer> {
  const server = await FakeAmqpServer.start(script)
  onTestFinished(() => server.close())
  return server
}

const ackAll: FakeAmqpScript = { onPublish: ({ connection, tag }) => connection.ack(tag) }
const bodies = (publishes: readonly FakePublish[]) => publishes.map(({ body }) => body.toString())
const rowsOf = (commit: string, ...ordinals: number[]) => ordinals.map((n) => `0/${commit}#${n}`)

test('publishes in order and settles what is confirmed', async () => {
  const broker = await fakeBroker(ackAll)
  const { window, sink, until, states } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 5)
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 2, 3, 4))
  expect(sink.counters).toMatchObject({ published: 5, confirmed: 5, reconnects: 0 })
  expect(states).toEqual(['connecting', 'open'])
})

test('a confirm of later messages settles nothing while an earlier one is missing', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 4)
  sink.flush()
  await broker.published(4)
  for (const tag of [4, 2, 3]) broker.last.ack(tag)
  await until(() => sink.counters.confirmed === 3)
  expect(window.settled).toEqual({ lsn: 0n, partial: null })
  broker.last.ack(1)
  await until(() => window.settled.lsn === end)
})

test('a storm of multiple confirms in any mixture settles each row once', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 100)
  sink.flush()
  await broker.published(100)
  for (let tag = 1; tag <= 100; tag++) {
    if (tag % 7 === 3) broker.last.ack(tag)
    if (tag % 10 === 0) broker.last.ack(tag, true)
  }
  await until(() => window.settled.lsn === end)
  expect(sink.counters).toMatchObject({ published: 100, confirmed: 100, reconnects: 0 })
})

test.each([
  ['an unknown tag', 7, false],
  ['an unknown tag with multiple', 7, true],
  ['tag zero', 0, false],
  // amqplib's own list would grow to this length, and be walked when the channel closes.
  ['a huge tag', 4_000_000_000, false],
])('%s settles nothing, and the channel is replaced', async (_name, tag, multiple) => {
  const broker = await fakeBroker()
  const { window, sink, until, states, lines } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.ack(tag, multiple)
  broker.last.ack(1)
  await broker.published(6)
  expect(sink.counters.confirmed).toBe(0)
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0, 1, 2))
  expect(lines.join()).toContain(`ack of delivery tag ${tag}`)
  broker.last.ack(3, true)
  await until(() => window.settled.lsn === end)
  expect(states).toEqual(['connecting', 'open', 'connecting', 'open'])
})

test('a repeated tag replaces the channel, and what it confirmed first stays settled', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.ack(2)
  broker.last.ack(2)
  await broker.published(5)
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0, 2))
  broker.last.ack(2, true)
  await until(() => window.isEmpty)
})

test('a return before the ack makes the ack a failure: retried, and held after its attempts', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      if (publish.body.toString().endsWith('#1')) publish.connection.return(publish)
      publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 3)
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(window.settled).toEqual({ lsn: 0n, partial: { commitLsn: 0x10n, rows: 1 } })
  expect(sink.counters).toMatchObject({ confirmed: 2, returned: 3 })
  expect(sink.reason?.code).toBe('EVENT_UNROUTABLE')
  expect(sink.reason?.message).toBe(
    'event event-16-1 (0/10#1, to exchange "outbox" with routing key "order.created") cannot be delivered: no queue takes it, returned 3 times',
  )
  broker.script = ackAll
  await until(() => window.settled.lsn === end)
  await until(() => sink.state === 'open')
})

test('nothing younger is sent while an event is held', async () => {
  const broker = await fakeBroker({ onPublish: ({ connection, tag }) => connection.nack(tag) })
  const { window, sink, until } = startSink(broker.url, { mendInterval: 60_000 })
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(sink.reason?.code).toBe('EVENT_NACKED')
  pushTransaction(window, 0x20n, 2)
  sink.flush()
  expect(broker.publishes).toHaveLength(3)
  expect(window.inFlight).toBe(0)
})

test('after a nack the row is sent again before anything younger', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url, { limits: { messages: 4, bytes: 1e6 } })
  pushTransaction(window, 0x10n, 6)
  sink.flush()
  await broker.published(4)
  broker.last.nack(2)
  broker.last.ack(1)
  await broker.published(6)
  expect(bodies(broker.publishes.slice(4))).toEqual(rowsOf('10', 1, 4))
  broker.script = ackAll
  broker.last.ack(6, true)
  await until(() => window.isEmpty)
})

test('a dropped event settles, is counted and reported', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      publish.connection.return(publish)
      publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until, lines } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 50, () => ({ unroutable: 'drop' }))
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(sink.counters).toMatchObject({ dropped: 50, confirmed: 0, returned: 50 })
  expect(lines.filter((line) => line.startsWith('dropped'))).toHaveLength(1)
})

test('an event that is to block is tried for ever, and nothing passes it', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      publish.connection.return(publish)
      publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 1, () => ({ unroutable: 'block' }))
  sink.flush()
  await broker.published(5)
  pushTransaction(window, 0x20n, 1)
  sink.flush()
  await broker.published(10)
  expect(sink.state).toBe('blocked')
  expect(sink.reason?.code).toBe('EVENT_UNROUTABLE')
  expect(new Set(bodies(broker.publishes))).toEqual(new Set(['0/10#0']))
  broker.script = ackAll
  await until(() => window.isEmpty && sink.state === 'open')
})

test('a return that belongs to nothing in flight is counted and reported once', async () => {
  const broker = await fakeBroker()
  const { window, sink, until, lines } = startSink(broker.url)
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await broker.published(1)
  const [publish] = broker.publishes
  for (const headers of [{ 'wal-lsn': '0/99', 'wal-ordinal': 0 }, { 'wal-lsn': 'x', 'wal-ordinal': 0 }, {}])
    broker.last.return(publish!, { ...publish!.properties, headers })
  broker.last.ack(1)
  await until(() => window.isEmpty)
  expect(sink.counters).toMatchObject({ returned: 3, confirmed: 1 })
  expect(lines.filter((line) => line.includes('not in flight'))).toHaveLength(1)
})

test('a closed channel without a culprit that shows itself sends the window one by one, then as a pipeline', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.closeChannel(406, 'PRECONDITION_FAILED - something')
  for (const [count, tag] of [
    [4, 1],
    [5, 2],
    [6, 3],
  ] as const) {
    await broker.published(count)
    expect(window.inFlight).toBe(1)
    if (count === 6) pushTransaction(window, 0x20n, 2)
    broker.last.ack(tag)
  }
  await broker.published(8)
  expect(window.inFlight).toBe(2)
  broker.last.ack(5, true)
  await until(() => window.isEmpty)
  expect(sink.counters.reconnects).toBe(1)
})

test('the row in flight alone when the channel closes again is the culprit; its neighbours arrive', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, exchange, tag }) => {
      if (exchange === 'gone') connection.closeChannel(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
      else connection.ack(tag)
    },
  })
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 5, (n) => (n === 2 ? { message: { exchange: 'gone' } } : {}))
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(sink.reason?.code).toBe('EVENT_REFUSED')
  expect(sink.reason?.message).toContain("404 NOT_FOUND - no exchange 'gone' in vhost '/'")
  expect(sink.reason?.message).toContain('event-16-2')
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 2 })
  broker.script = ackAll
  await until(() => window.isEmpty && sink.state === 'open')
})

test('with a place for dead letters the culprit is passed and the stream goes on', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, exchange, tag }) => {
      if (exchange === 'gone') connection.closeChannel(404, 'NOT_FOUND - no exchange')
      else connection.ack(tag)
    },
  })
  const kept: string[] = []
  const { window, sink, until } = startSink(broker.url, {
    undeliverable: {
      decide: async (row, refusal) => {
        kept.push(`${row.ordinal} ${refusal.code}`)
        return 'settle'
      },
    },
  })
  pushTransaction(window, 0x10n, 20, (n) => {
    if (n === 5) return { refusal: { code: 'EVENT_TOO_LARGE', text: '20 MiB' } }
    return n % 8 === 3 ? { message: { exchange: 'gone' } } : {}
  })
  sink.flush()
  await until(() => window.isEmpty)
  expect(kept.sort()).toEqual(['11 EVENT_REFUSED', '19 EVENT_REFUSED', '3 EVENT_REFUSED', '5 EVENT_TOO_LARGE'])
  expect(sink.counters.confirmed).toBe(16)
})

test('an event refused by this side is never sent; a policy that fails holds it', async () => {
  const broker = await fakeBroker(ackAll)
  let failing = true
  const { window, sink, until, lines } = startSink(broker.url, {
    undeliverable: {
      decide: async () => {
        if (failing) throw new Error('table is gone')
        return 'settle'
      },
    },
  })
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { refusal: { code: 'EVENT_INVALID', text: 'bad header' } } : {}))
  sink.flush()
  await until(() => sink.state === 'stuck' && window.settled.partial?.rows === 1)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0))
  expect(lines.join()).toContain('table is gone')
  failing = false
  await until(() => window.isEmpty && sink.state === 'open')
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 2))
})

test('while a row is being decided on nothing younger is sent, and it is decided on once', async () => {
  const broker = await fakeBroker(ackAll)
  const decisions: ((verdict: 'settle') => void)[] = []
  const { window, sink, until } = startSink(broker.url, {
    undeliverable: { decide: () => new Promise((resolve) => decisions.push(resolve)) },
  })
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { refusal: { code: 'EVENT_INVALID', text: 'bad header' } } : {}))
  sink.flush()
  await until(() => window.settled.partial?.rows === 1)
  sink.flush()
  expect(decisions).toHaveLength(1)
  broker.last.cut()
  await until(() => sink.counters.reconnects === 1)
  expect(decisions).toHaveLength(1)
  expect(broker.publishes).toHaveLength(1)
  decisions[0]!('settle')
  await until(() => window.isEmpty)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 2))
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
  const decided: unknown[] = []
  const { window, sink, until } = startSink(broker.url, {
    exchanges: [{ name: 'outbox', key: 'sink.exchange' }],
    undeliverable: {
      decide: async (row) => {
        decided.push(row.eventId)
        return 'settle'
      },
    },
  })
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_EXCHANGE_MISSING')
  broker.script = ackAll
  await until(() => window.isEmpty)
  expect(decided).toEqual([])
})

test('what AMQP cannot encode is refused alone and does not close the channel', async () => {
  const broker = await fakeBroker(ackAll)
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 3, (n) => (n === 1 ? { message: { routingKey: 'k'.repeat(300) } } : {}))
  sink.flush()
  await until(() => sink.state === 'stuck')
  expect(sink.reason?.code).toBe('EVENT_INVALID')
  expect(broker.connections).toHaveLength(1)
})

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

test('answers for a window that was reset settle nothing of the new one', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  window.reset({ lsn: 0x8n, partial: null })
  const end = pushTransaction(window, 0x10n, 1)
  sink.flush()
  await broker.published(3)
  broker.last.ack(2, true)
  broker.last.nack(3)
  await until(() => sink.counters.nacked === 1)
  expect(window.settled.lsn).toBe(0x8n)
  broker.script = ackAll
  await until(() => window.settled.lsn === end)
})

test('a held event that a reset takes away holds no longer', async () => {
  const broker = await fakeBroker({ onPublish: ({ connection, tag }) => connection.nack(tag) })
  const { window, sink, until } = startSink(broker.url, { mendInterval: 60_000 })
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await until(() => sink.state === 'stuck')
  broker.script = ackAll
  window.reset({ lsn: 0x18n, partial: null })
  pushTransaction(window, 0x20n, 1)
  sink.flush()
  await until(() => window.isEmpty && sink.state === 'open')
})

test('a broken invariant ends the publishing for good and is reported as a bug', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  // Somebody else settles a row that is in flight.
  window.settle(window.find(0x10n, 1)!)
  broker.last.ack(2, true)
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('ASSERTION_FAILED')
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
