import { setTimeout as delay } from 'node:timers/promises'
import { writerName } from '../workload/aggregates.ts'
import { withChannel } from './channel.ts'
import { Consumer } from './consumer.ts'
import type { QueueOptions } from './scene-options.ts'

export interface DrainedQueue {
  readonly name: string
  readonly consumer: Consumer
}

export interface SceneQueue extends DrainedQueue {
  /** Whether the events of this aggregate are routed to it. */
  readonly takes: (aggregate: string) => boolean
}

/** Declares and binds the queues; their consumers are not started yet. */
export async function declareQueues(
  rabbit: { readonly directUrl: string },
  exchange: string,
  wanted: readonly QueueOptions[],
): Promise<SceneQueue[]> {
  return withChannel(rabbit, async (channel) => {
    const queues: SceneQueue[] = []
    for (const [n, { type = 'quorum', arguments: others = {}, writers }] of wanted.entries()) {
      const name = n === 0 ? exchange : `${exchange}_${n + 1}`
      await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': type, ...others } })
      const prefixes = writers?.map((writer) => `${writerName(writer)}.`)
      for (const key of prefixes?.map((prefix) => `${prefix}#`) ?? ['#']) await channel.bindQueue(name, exchange, key)
      const takes = (aggregate: string) => prefixes?.some((prefix) => aggregate.startsWith(prefix)) ?? true
      queues.push({ name, consumer: new Consumer(rabbit.directUrl, name), takes })
    }
    return queues
  })
}

/** Consumed until empty several times: right after its start a broker may say 0 for a queue that holds thousands. */
export async function drain(rabbit: { readonly directUrl: string }, { name, consumer }: DrainedQueue): Promise<void> {
  for (let quiet = 0, rounds = 0; quiet < 3 && rounds < 300; rounds++) {
    const before = consumer.deliveries.length
    const { messageCount } = await withChannel(rabbit, (channel) => channel.checkQueue(name))
    await delay(100)
    quiet = messageCount === 0 && consumer.deliveries.length === before ? quiet + 1 : 0
  }
}
