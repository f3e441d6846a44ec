import { expect, test } from 'vitest'
import { requireDestination } from '../../src/setup/require-destination.ts'
import { testBroker } from '../sink/broker.ts'
import { uniqueName } from '../support/services.ts'

const at = (url: string) => ({ urls: async () => [url] })

test('what exists and may be published to is let through, and nothing is published', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  await requireDestination(at(broker.url), {})
  await requireDestination(at(broker.url), { queue })
  await requireDestination(at(broker.url), { exchange })
  expect(await broker.drain(queue)).toEqual([])
})

test('a name that does not exist is a usage error that has the flag', async () => {
  const { url } = await testBroker()
  const name = uniqueName('none')
  for (const flag of ['queue', 'exchange'] as const) {
    const asked = requireDestination(at(url), { [flag]: name })
    await expect(asked).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(`--${flag} is "${name}"`),
    })
  }
})

test('a user that may not publish there is refused before every event becomes a dead letter', async () => {
  const broker = await testBroker()
  const exchange = await broker.exchange()
  const queue = await broker.queue({ bind: [exchange, '#'] })
  const weak = await broker.user({ write: `^${exchange}$` })
  await requireDestination(at(weak.url), { exchange })
  await expect(requireDestination(at(weak.url), { queue })).rejects.toMatchObject({
    code: 'SINK_PERMISSION_DENIED',
    message: expect.stringContaining('exchange "amq.default"'),
  })
  const strong = await broker.user({ write: '^amq\\.default$' })
  await requireDestination(at(strong.url), { queue })
})

test('a broker that is away is for the replay to wait for', async () => {
  await requireDestination({ ...at('amqp://127.0.0.1:1'), connectTimeout: 1000 }, { queue: 'any' })
})
