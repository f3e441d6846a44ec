import { expect, test } from 'vitest'
import { testBroker } from './broker.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

const texts = (messages: readonly { content: Buffer }[]) => messages.map(({ content }) => content.toString())
const range = (count: number) => Array.from({ length: count }, (_, n) => n)

test('in the order of aggregates a nacked event is followed by its successors only, on a queue that refuses at random', async () => {
  const broker = await testBroker()
  const queue = await broker.queue({ arguments: { 'x-max-length': 3, 'x-overflow': 'reject-publish' } })
  const retry = { attempts: 10_000, initialDelay: 1, maxDelay: 5 }
  const { window, sink, until } = startSink(broker.url, { order: 'aggregate', retry })
  const sequences = new Map<number, number>()
  pushTransaction(window, 0x10n, 120, (n) => {
    const aggregate = n % 7
    const sequence = (sequences.get(aggregate) ?? 0) + 1
    sequences.set(aggregate, sequence)
    const message = { exchange: '', routingKey: queue, body: Buffer.from(`${aggregate}:${sequence}`) }
    return { aggregateType: 'order', aggregateId: `${aggregate}`, message }
  })
  sink.flush()
  const received: string[] = []
  while (!window.isEmpty) {
    const { confirmed } = sink.counters
    await until(() => sink.counters.confirmed > confirmed || window.isEmpty)
    received.push(...texts(await broker.drain(queue)))
  }
  received.push(...texts(await broker.drain(queue)))
  expect(sink.counters.nacked).toBeGreaterThan(10)
  for (const [aggregate, count] of sequences) {
    const own = received.filter((text) => text.startsWith(`${aggregate}:`))
    expect(own).toEqual(range(count).map((n) => `${aggregate}:${n + 1}`))
  }
})
