import { expect, onTestFinished, test } from 'vitest'
import { checkBroker, prepareBroker } from '../../src/sink/broker-setup.ts'
import type { Topology } from '../../src/sink/topology.ts'
import { uniqueName } from '../support/services.ts'
import { testBroker } from './broker.ts'
import { noTopology, startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

/** Names of a topology that the test makes; removed afterwards, made or not. */
async function fresh() {
  const broker = await testBroker()
  const [exchange, other, queue, stream] = ['ex', 'ex', 'q', 'q'].map((kind) => uniqueName(`sink_${kind}`)) as [
    string,
    string,
    string,
    string,
  ]
  onTestFinished(async () => {
    for (const name of [queue, stream]) await broker.channel.deleteQueue(name)
    for (const name of [exchange, other]) await broker.channel.deleteExchange(name)
  })
  const topology: Topology = {
    mode: 'declare',
    exchanges: [{ name: other, type: 'fanout', durable: true }],
    queues: [
      { name: queue, type: 'quorum', durable: true, arguments: { 'x-delivery-limit': 5 } },
      { name: stream, type: 'stream', durable: true },
    ],
    bindings: [
      { exchange: other, queue: stream, routingKey: '' },
      { exchange, queue, routingKey: 'order.#' },
    ],
  }
  const prepare = (change: object = {}) =>
    prepareBroker({ urls: async () => [broker.url], exchange, topology, create: true, ...change })
  return { broker, exchange, other, queue, stream, topology, prepare }
}

test('what is missing is created, and the second time everything is kept', async () => {
  const { broker, exchange, other, queue, stream, prepare } = await fresh()
  const names = [`exchange "${other}"`, `exchange "${exchange}"`, `queue "${queue}"`, `queue "${stream}"`]
  expect(await prepare()).toEqual(names.map((name) => ({ name, outcome: 'created' })))
  expect(await prepare()).toEqual(names.map((name) => ({ name, outcome: 'kept' })))
  broker.channel.publish(exchange, 'order.paid', Buffer.from('x'))
  broker.channel.publish(other, '', Buffer.from('y'))
  await expect.poll(async () => (await broker.channel.checkQueue(queue)).messageCount).toBe(1)
  await broker.channel.assertExchange(exchange, 'topic', { durable: true })
})

test('an exchange of another type is kept as it is', async () => {
  const { broker, exchange, prepare } = await fresh()
  await broker.channel.assertExchange(exchange, 'direct')
  expect(await prepare({ topology: noTopology })).toEqual([{ name: `exchange "${exchange}"`, outcome: 'kept' }])
})

test('without leave to create, what is missing rejects and nothing is made', async () => {
  const { exchange, topology, prepare } = await fresh()
  await expect(prepare({ create: false, topology: noTopology })).rejects.toMatchObject({
    code: 'SINK_EXCHANGE_MISSING',
    message: expect.stringContaining(`exchange "${exchange}" does not exist`),
  })
  await prepare({ topology: noTopology })
  await expect(prepare({ topology: { ...topology, mode: 'verify', exchanges: [] } })).rejects.toMatchObject({
    code: 'SINK_TOPOLOGY',
  })
})

test('a queue that is there with other arguments is reported, not changed', async () => {
  const { broker, queue, prepare } = await fresh()
  await broker.channel.assertQueue(queue, { durable: true })
  await expect(prepare()).rejects.toMatchObject({ code: 'SINK_TOPOLOGY', message: expect.stringContaining('406') })
})

test('an exchange that only a route names is never created: the rest is made ready, then it is told with its key', async () => {
  const { broker, exchange, other, prepare } = await fresh()
  const routeExchanges = [{ name: other, key: 'routes[2].exchange' }]
  await expect(prepare({ topology: noTopology, routeExchanges })).rejects.toMatchObject({
    code: 'SINK_EXCHANGE_MISSING',
    message: expect.stringMatching(
      new RegExp(`exchange "${other}" does not exist .* routes\\[2\\]\\.exchange names it`),
    ),
    remedy: expect.stringContaining('sink.topology'),
  })
  await broker.channel.checkExchange(exchange)
  const target = { urls: async () => [broker.url], exchange, routeExchanges }
  const findings = await checkBroker(target)
  expect(findings.map(({ name, ok }) => [name, ok])).toEqual([
    ['broker', true],
    ['exchange', true],
    ['write permission', true],
    ['exchange', false],
  ])
  expect(findings.at(-1)!.detail).toContain('routes[2].exchange names it')
  // Declared by sink.topology, it is there.
  expect(await prepare({ routeExchanges })).toContainEqual({ name: `exchange "${other}"`, outcome: 'created' })
  expect((await checkBroker(target)).every(({ ok }) => ok)).toBe(true)
})

test('the default exchange needs nothing', async () => {
  const { broker, prepare } = await fresh()
  expect(await prepare({ exchange: '', topology: noTopology })).toEqual([{ name: 'exchange ""', outcome: 'kept' }])
  const findings = await checkBroker({ urls: async () => [broker.url], exchange: '' })
  expect(findings.map(({ name, ok }) => [name, ok])).toEqual([
    ['broker', true],
    ['write permission', true],
  ])
})

test('the check finds everything in order and publishes nothing', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const findings = await checkBroker({ urls: async () => [broker.url], exchange })
  expect(findings.map(({ name, ok, detail }) => [name, ok, detail])).toEqual([
    ['broker', true, 'reachable, login and vhost accepted'],
    ['exchange', true, `exchange "${exchange}" exists`],
    ['write permission', true, `may publish to exchange "${exchange}"`],
  ])
  expect(await broker.drain(queue)).toEqual([])
})

test('not even a user who may impersonate others publishes by the check', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const login = await broker.user({ write: '.*' })
  await broker.ctl('set_user_tags', login.name, 'impersonator')
  const findings = await checkBroker({ urls: async () => [login.url], exchange })
  expect(findings.every(({ ok }) => ok)).toBe(true)
  expect(await broker.drain(queue)).toEqual([])
})

test('the check reports a missing permission, exchange, login and broker with a remedy', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const login = await broker.user({})
  const last = async (url: string, name: string) =>
    (await checkBroker({ urls: async () => [url], exchange: name })).at(-1)!
  expect(await last(login.url, exchange)).toMatchObject({ name: 'write permission', ok: false })
  expect((await last(login.url, exchange)).detail).toContain('403')
  expect(await last(broker.url, uniqueName('sink'))).toMatchObject({ name: 'exchange', ok: false })
  const refused = await last(login.url.replace('secret-word', 'other-word'), exchange)
  expect(refused).toMatchObject({ name: 'broker', ok: false, remedy: expect.stringContaining('sink.url') })
  expect(JSON.stringify(refused)).not.toContain('other-word')
  expect(await last('amqp://127.0.0.1:1', exchange)).toMatchObject({ name: 'broker', ok: false })
})

test('the sink declares its topology before it publishes, also after the broker lost it', async () => {
  const { broker, exchange, queue, topology } = await fresh()
  await broker.channel.assertExchange(exchange, 'topic')
  const { window, sink, until } = startSink(broker.url, {
    exchanges: [{ name: exchange, key: 'sink.exchange' }],
    topology,
  })
  pushTransaction(window, 0x10n, 2, () => ({ message: { exchange } }))
  sink.flush()
  await until(() => window.isEmpty)
  expect(await broker.drain(queue)).toHaveLength(2)
})

test('a sink that is only to verify waits for the queue that is missing', async () => {
  const { broker, exchange, queue, topology } = await fresh()
  await broker.channel.assertExchange(exchange, 'topic')
  const queues = topology.queues.slice(0, 1)
  const { sink, until } = startSink(broker.url, {
    exchanges: [{ name: exchange, key: 'sink.exchange' }],
    topology: { mode: 'verify', exchanges: [], queues, bindings: [] },
  })
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('SINK_TOPOLOGY')
  await broker.channel.assertQueue(queue)
  await until(() => sink.state === 'open')
})
