import { expect, onTestFinished, test } from 'vitest'
import { uniqueName } from '../support/services.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { testBroker } from './broker.ts'
import { ScriptedKeeper } from './scripted-keeper.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

const texts = (messages: readonly { content: Buffer }[]) => messages.map(({ content }) => content.toString())
const range = (count: number) => Array.from({ length: count }, (_, n) => n)

test('a quorum queue receives every message once, in order, with its properties', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'], arguments: { 'x-queue-type': 'quorum' } })
  const { window, sink, until } = startSink(broker.url, { exchanges: [{ name: exchange, key: 'sink.exchange' }] })
  const end = pushTransaction(window, 0x10n, 1500, () => ({ message: { exchange } }))
  sink.flush()
  await until(() => window.settled.lsn === end)
  const messages = await broker.drain(queue)
  expect(texts(messages)).toEqual(range(1500).map((n) => `0/10#${n}`))
  expect(messages[7]!.fields).toMatchObject({ exchange, routingKey: 'order.created' })
  expect(messages[7]!.properties).toMatchObject({
    messageId: 'event-16-7',
    type: 'created',
    contentType: 'application/json',
    timestamp: 1_700_000_000,
    appId: 'wal2rabbit',
    deliveryMode: 2,
    headers: { 'wal-lsn': '0/10', 'wal-ordinal': 7 },
  })
})

test('bodies of every size arrive whole', async () => {
  const broker = await testBroker()
  const queue = await broker.queue()
  const { window, sink, until } = startSink(broker.url)
  const sizes = [0, 1, 1900, 2048, 131_064, 131_072, 2_500_000, 3]
  pushTransaction(window, 0x10n, sizes.length, (n) => ({
    message: { exchange: '', routingKey: queue, body: Buffer.alloc(sizes[n]!, n) },
  }))
  sink.flush()
  await until(() => window.isEmpty)
  const messages = await broker.drain(queue)
  expect(messages.map(({ content }) => content.length)).toEqual(sizes)
  expect(messages.every(({ content }, n) => content.equals(Buffer.alloc(sizes[n]!, n)))).toBe(true)
})

test('a returned event is kept after its attempts, and the others are delivered', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, 'known'] })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  const end = pushTransaction(window, 0x10n, 3, (n) => ({
    message: { exchange, routingKey: n === 1 ? 'unknown' : 'known' },
  }))
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect([keeper.kept, sink.counters.returned]).toEqual([['event-16-1 EVENT_UNROUTABLE'], 3])
  expect(texts(await broker.drain(queue))).toEqual(['0/10#0', '0/10#2'])
})

test('an event that is to block waits for its queue, in its place', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, 'known'] })
  const { window, sink, until } = startSink(broker.url, { limits: { messages: 1, bytes: 1e6 } })
  const end = pushTransaction(window, 0x10n, 3, (n) => ({
    message: { exchange, routingKey: n === 1 ? 'unknown' : 'known' },
    unroutable: 'block',
  }))
  sink.flush()
  await until(() => sink.state === 'blocked' && sink.counters.returned >= 5)
  expect(sink.reason?.code).toBe('EVENT_UNROUTABLE')
  expect(window.settled.partial).toEqual({ commitLsn: 0x10n, rows: 1 })
  await broker.channel.bindQueue(queue, exchange, 'unknown')
  await until(() => window.settled.lsn === end && sink.state === 'open')
  expect(texts(await broker.drain(queue))).toEqual(['0/10#0', '0/10#1', '0/10#2'])
})

test('a full queue nacks; the event is tried again and delivered once there is room', async () => {
  const broker = await testBroker()
  const limits = { 'x-max-length': 1, 'x-overflow': 'reject-publish' }
  const queue = await broker.queue({ arguments: limits })
  const retry = { attempts: 1000, initialDelay: 5, maxDelay: 20 }
  const { window, sink, until } = startSink(broker.url, { retry })
  pushTransaction(window, 0x10n, 2, () => ({ message: { exchange: '', routingKey: queue } }))
  sink.flush()
  await until(() => sink.counters.nacked > 5)
  expect(texts(await broker.drain(queue))).toEqual(['0/10#0'])
  await until(() => window.isEmpty)
  expect(texts(await broker.drain(queue))).toEqual(['0/10#1'])
})

test('a full queue nacks; the event is kept after its attempts', async () => {
  const broker = await testBroker()
  const queue = await broker.queue({ arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 2, () => ({ message: { exchange: '', routingKey: queue } }))
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept).toEqual(['event-16-1 EVENT_NACKED'])
})

test('of a window with one missing exchange the neighbours arrive, in order, and only the culprit is kept', async () => {
  const broker = await testBroker()
  const queue = await broker.queue()
  const missing = uniqueName('sink')
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 9, (n) => ({
    message: n === 4 ? { exchange: missing } : { exchange: '', routingKey: queue },
  }))
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept).toEqual(['event-16-4 EVENT_REFUSED'])
  // What came before the culprit may have come twice.
  expect([...new Set(texts(await broker.drain(queue)))]).toEqual(
    range(9)
      .filter((n) => n !== 4)
      .map((n) => `0/10#${n}`),
  )
})

test('a message over the limit of the broker is the only one kept', async () => {
  const broker = await testBroker()
  const queue = await broker.queue()
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { keeper })
  pushTransaction(window, 0x10n, 3, (n) => ({
    message: { exchange: '', routingKey: queue, ...(n === 1 && { body: Buffer.alloc(135_000_000) }) },
  }))
  sink.flush()
  await until(() => window.isEmpty, 30_000)
  expect(keeper.kept).toEqual(['event-16-1 EVENT_REFUSED'])
  expect([...new Set(texts(await broker.drain(queue)))]).toEqual(['0/10#0', '0/10#2'])
})

test('connections closed by the operator are opened again and the window is sent on, in order', async () => {
  const broker = await testBroker()
  const queue = await broker.queue()
  const login = await broker.user({ write: '.*' })
  const { window, sink, until } = startSink(login.url, { limits: { messages: 50, bytes: 1e6 } })
  let next = 0n
  while (sink.counters.reconnects < 3) {
    const opened = sink.counters.reconnects
    next += 0x10n
    pushTransaction(window, next, 50, () => ({ message: { exchange: '', routingKey: queue } }))
    sink.flush()
    await until(() => sink.counters.published > 0)
    await broker.ctl('close_all_user_connections', login.name, 'because')
    await until(() => sink.counters.reconnects > opened && window.isEmpty)
  }
  const received = texts(await broker.drain(queue))
  const expected = range(Number(next / 0x10n)).flatMap((t) => range(50).map((n) => `0/${(t + 1) * 10}#${n}`))
  expect([...new Set(received)]).toEqual(expected)
  expect(sink.state).toBe('open')
})

test('a connection that is reset in the middle of the window loses and reorders nothing', async () => {
  const broker = await testBroker()
  const proxy = await startTcpProxy(broker.url)
  onTestFinished(() => proxy.close())
  const queue = await broker.queue({ arguments: { 'x-queue-type': 'quorum' } })
  const { window, sink, until } = startSink(proxy.urlFor(broker.url))
  await until(() => sink.state === 'open')
  proxy.resetAfter(40_000, 'to-server')
  const end = pushTransaction(window, 0x10n, 1000, () => ({ message: { exchange: '', routingKey: queue } }))
  sink.flush()
  await until(() => sink.counters.reconnects >= 1)
  proxy.heal()
  await until(() => window.settled.lsn === end)
  const firsts = [...new Set(texts(await broker.drain(queue)))]
  expect(firsts).toEqual(range(1000).map((n) => `0/10#${n}`))
  expect(sink.counters.published).toBeGreaterThan(1000)
})

test('an exchange that is missing holds everything until it is there', async () => {
  const broker = await testBroker()
  const exchange = uniqueName('sink')
  const { window, sink, until } = startSink(broker.url, { exchanges: [{ name: exchange, key: 'sink.exchange' }] })
  pushTransaction(window, 0x10n, 1, () => ({ message: { exchange }, unroutable: 'drop' }))
  sink.flush()
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_EXCHANGE_MISSING')
  expect(sink.reason?.message).toContain(`exchange "${exchange}" does not exist`)
  await broker.channel.assertExchange(exchange, 'topic')
  onTestFinished(async () => void (await broker.channel.deleteExchange(exchange)))
  await until(() => window.isEmpty && sink.state === 'open')
})

test('an exchange deleted while publishing blames no event', async () => {
  const broker = await testBroker()
  const exchange = uniqueName('sink')
  await broker.channel.assertExchange(exchange, 'topic')
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, {
    exchanges: [{ name: exchange, key: 'sink.exchange' }],
    keeper,
  })
  await until(() => sink.state === 'open')
  await broker.channel.deleteExchange(exchange)
  pushTransaction(window, 0x10n, 20, () => ({ message: { exchange } }))
  sink.flush()
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_EXCHANGE_MISSING')
  await broker.channel.assertExchange(exchange, 'topic')
  onTestFinished(async () => void (await broker.channel.deleteExchange(exchange)))
  await broker.channel.bindQueue(queue, exchange, '#')
  await until(() => window.isEmpty && sink.state === 'open')
  expect(keeper.calls).toEqual([])
  expect(texts(await broker.drain(queue))).toEqual(range(20).map((n) => `0/10#${n}`))
})

test('a write permission taken away blames no event, and the stream goes on once it is given again', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const login = await broker.user({})
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(login.url, {
    exchanges: [{ name: exchange, key: 'sink.exchange' }],
    keeper,
  })
  pushTransaction(window, 0x10n, 20, () => ({ message: { exchange } }))
  sink.flush()
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_PERMISSION_DENIED')
  await broker.ctl('set_permissions', login.name, '', exchange, '')
  await until(() => window.isEmpty && sink.state === 'open')
  expect(keeper.calls).toEqual([])
  expect(texts(await broker.drain(queue))).toEqual(range(20).map((n) => `0/10#${n}`))
})

// The key of the permission check, and that of other events, are refused or allowed for themselves.
test('a routing key that topic permissions refuse is the only one that is not delivered', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const login = await broker.user({ write: exchange })
  await broker.ctl('set_topic_permissions', login.name, exchange, '^order\\.', '')
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(login.url, {
    exchanges: [{ name: exchange, key: 'sink.exchange' }],
    keeper,
  })
  pushTransaction(window, 0x10n, 20, (n) => ({
    message: { exchange, routingKey: n === 7 ? 'secret.sold' : 'order.sold' },
  }))
  sink.flush()
  await until(() => window.isEmpty && sink.state === 'open', 15_000)
  expect(keeper.kept).toEqual(['event-16-7 EVENT_REFUSED'])
  const arrived = new Set(texts(await broker.drain(queue)))
  expect([...arrived].sort()).toEqual(
    range(20)
      .filter((n) => n !== 7)
      .map((n) => `0/10#${n}`)
      .sort(),
  )
})

test('a refused login and a missing vhost are failing, with a reason that names neither password', async () => {
  const broker = await testBroker()
  const login = await broker.user({ write: '.*' })
  let url = login.url.replace('secret-word', 'other-word')
  const { sink, until, lines } = startSink('', { urls: async () => [url] })
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_AUTH_FAILED')
  expect(sink.reason?.message).toContain('403 ACCESS_REFUSED')
  url = new URL('/no-such-vhost', login.url).href
  await until(() => sink.reason?.message.includes('no-such-vhost') === true)
  expect(sink.reason?.code).toBe('SINK_AUTH_FAILED')
  url = login.url
  await until(() => sink.state === 'open')
  expect(lines.join()).not.toMatch(/secret-word|other-word/)
})

test('a broker that is not there is tried until it is', async () => {
  const broker = await testBroker()
  const proxy = await startTcpProxy(broker.url)
  onTestFinished(() => proxy.close())
  await proxy.refuse(true)
  const { window, sink, until, states } = startSink(proxy.urlFor(broker.url))
  const queue = await broker.queue()
  pushTransaction(window, 0x10n, 1, () => ({ message: { exchange: '', routingKey: queue } }))
  sink.flush()
  await until(() => sink.reason?.code === 'SINK_UNREACHABLE')
  await proxy.refuse(false)
  await until(() => window.isEmpty)
  expect(new Set(states)).toEqual(new Set(['connecting', 'open']))
})

test('a network that swallows everything is noticed by the heartbeat', async () => {
  const broker = await testBroker()
  const proxy = await startTcpProxy(broker.url)
  onTestFinished(() => proxy.close())
  const queue = await broker.queue()
  const { window, sink, until } = startSink(proxy.urlFor(broker.url), { heartbeat: 1000 })
  await until(() => sink.state === 'open')
  proxy.blackhole()
  pushTransaction(window, 0x10n, 3, () => ({ message: { exchange: '', routingKey: queue } }))
  sink.flush()
  await until(() => sink.reason?.message.includes('Heartbeat timeout') === true, 10_000)
  proxy.reset()
  proxy.heal()
  await until(() => window.isEmpty)
})
