import { expect, onTestFinished, test } from 'vitest'
import { checkTopology } from '../../src/setup/check-topology.ts'
import { initBroker } from '../../src/setup/init-broker.ts'
import type { Topology } from '../../src/sink/topology.ts'
import { testBroker } from '../sink/broker.ts'
import { uniqueName } from '../support/services.ts'

/** A topology of one fanout exchange and one quorum queue that are not there yet; removed afterwards, made or not. */
async function fresh() {
  const broker = await testBroker()
  const [exchange, other, queue] = [uniqueName('setup'), uniqueName('setup'), uniqueName('setup')]
  onTestFinished(async () => {
    await broker.channel.deleteQueue(queue)
    for (const name of [exchange, other]) await broker.channel.deleteExchange(name)
  })
  const plan = (mode: Topology['mode'] = 'declare', url = broker.url) => ({
    urls: async () => [url],
    exchange,
    topology: {
      mode,
      exchanges: [{ name: other, type: 'fanout', durable: true }],
      queues: [{ name: queue, type: 'quorum' as const, durable: true }],
      bindings: [{ exchange, queue, routingKey: '#' }],
    },
  })
  const names = [`exchange "${other}"`, `exchange "${exchange}"`, `queue "${queue}"`]
  return { broker, exchange, other, queue, plan, names }
}

const seen = async (plan: Parameters<typeof checkTopology>[0]) =>
  (await checkTopology(plan)).map(({ name, ok, severity }) => `${name} ${ok ? 'ok' : severity}`)

test('a dry run tells what is missing as to be created, makes nothing, and init then lists the same', async () => {
  const { plan, names, exchange, queue } = await fresh()
  const all = [...names, `binding of queue "${queue}" to exchange "${exchange}" with key "#"`]
  const created = all.map((name) => ({ name, outcome: 'created', sql: '' }))
  expect(await initBroker(plan(), true)).toEqual(created)
  expect(await initBroker(plan(), true)).toEqual(created)
  expect(await initBroker(plan(), false)).toEqual(created)
  for (const dryRun of [true, false]) {
    const again = await initBroker(plan(), dryRun)
    expect(again.map(({ name, outcome }) => ({ name, outcome }))).toEqual(
      all.map((name) => ({ name, outcome: 'kept' })),
    )
  }
})

test('in mode verify a dry run rejects where init does', async () => {
  const { plan, broker, other } = await fresh()
  await expect(initBroker(plan('verify'), true)).rejects.toMatchObject({ code: 'SINK_EXCHANGE_MISSING' })
  await broker.channel.assertExchange(other, 'fanout')
  await expect(initBroker(plan('verify'), true)).rejects.toMatchObject({ code: 'SINK_TOPOLOGY' })
})

test('check takes a missing exchange or queue for a problem in mode verify alone, and makes neither', async () => {
  const { plan } = await fresh()
  expect(await seen(plan('verify'))).toEqual(['exchange problem', 'queue problem'])
  expect(await seen(plan('declare'))).toEqual(['exchange ok', 'queue ok'])
  expect(await seen(plan('verify'))).toEqual(['exchange problem', 'queue problem'])
  await initBroker(plan(), false)
  expect(await seen(plan('verify'))).toEqual(['exchange ok', 'queue ok'])
})

test('a queue or an exchange of another type is a problem in both modes', async () => {
  const { plan, broker, other, queue } = await fresh()
  await broker.channel.assertQueue(queue, { durable: true })
  await broker.channel.assertExchange(other, 'direct')
  for (const mode of ['declare', 'verify'] as const) {
    expect(await seen(plan(mode))).toEqual(['exchange problem', 'queue problem'])
  }
})

test('a user who may not configure is no problem in mode verify', async () => {
  const { plan, broker } = await fresh()
  await initBroker(plan(), false)
  const { url } = await broker.user({ write: '.*' })
  expect(await seen(plan('verify', url))).toEqual(['exchange ok', 'queue ok'])
  expect(await seen(plan('declare', url))).toEqual(['exchange problem', 'queue problem'])
})
