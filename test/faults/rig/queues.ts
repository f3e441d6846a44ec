import { writerName } from '../workload/aggregates.ts'
import { withChannel } from './channel.ts'
import { Consumer } from './consumer.ts'
import type { QueueOptions } from './scene-options.ts'

export interface SceneQueue {
  readonly name: string
  readonly consumer: Consumer
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
