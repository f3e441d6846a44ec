import { setTimeout as delay } from 'node:timers/promises'
import type { Scene } from '../rig/scene.ts'
import type { QueueOptions } from '../rig/scene-options.ts'
import type { Row } from '../row.ts'
import { deadLetters, quiet, recoversBut, retryAll } from './rabbitmq-dead-letters.ts'
import { insertOwn } from './rabbitmq-own-events.ts'

const limited = { 'x-max-length': 100, 'x-overflow': 'reject-publish' }

/** Delays as short as they can be: what is looked at is how often, not how long. */
const manyAttempts = {
  WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '1000',
  WAL2RABBIT_DELIVERY_RETRY_INITIAL_DELAY: '20ms',
  WAL2RABBIT_DELIVERY_RETRY_MAX_DELAY: '200ms',
}

export const limitRows: readonly Row[] = [
  fullQueueRow('classic'),
  fullQueueRow('quorum'),
  {
    id: 'F55',
    title: 'queue limit with reject-publish, 2 attempts: dead letters, parked by aggregate, retried in order',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({
        seed,
        order: 'aggregate',
        queues: [{ type: 'classic', arguments: limited }],
        env: { ...manyAttempts, WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '2', WAL2RABBIT_DEAD_LETTER_SCOPE: 'aggregate' },
      })
      await scene.start()
      let kept = 0
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        await scene.consumer.pause()
        await scene.bridge.until(({ counters }) => counters.deadLettered >= kept + 200, 30_000, '200 dead letters')
        scene.consumer.resume()
        await recoversBut(scene, `the queue has room ${run}`, 15_000)
        kept = (await scene.bridge.until(() => true)).counters.deadLettered
        // While the bridge adds to them: what is parked must not be overtaken.
        await scene.flow(50)
        await retryAll(scene)
      }
      const codes = new Set((await deadLetters(scene)).map(({ code }) => code))
      scene.expect(codes.size === 0, 'I8', `dead letters are left: ${[...codes].join(', ')}`)
      await quiet(scene)
      await retryAll(scene)
      return scene.finish({ runs, note: `${kept} dead letters, all delivered by retry` })
    },
  },
  {
    id: 'F56',
    title: 'fan-out, one of two queues full (reject-publish)',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({
        seed,
        order: 'aggregate',
        queues: [{ type: 'quorum' }, { type: 'classic', arguments: limited }],
        env: manyAttempts,
      })
      await scene.start()
      await scene.flow(400)
      await fillAgainAndAgain(scene, scene.queues[1]!, 5 * runs)
      await scene.recovers('both queues are consumed again', 30_000)
      const { nacked } = (await scene.bridge.until(() => true)).counters
      scene.mayRepeat(nacked, 'the healthy queue has taken what the full one refused, each time that it is sent')
      const figures = await scene.finish({ runs, note: `${nacked} nacks` })
      const inFull = scene.queues[1]!.consumer.deliveries.length - scene.queues[1]!.consumer.ids.size
      const redelivered = scene.queues[1]!.consumer.deliveries.filter((delivery) => delivery.redelivered).length
      const violations = [...figures.violations]
      if (nacked === 0) violations.push({ invariant: 'I8', what: 'the full queue refused nothing', count: 1 })
      if (figures.repeated === 0) violations.push({ invariant: 'I4', what: 'no repeat on the healthy queue', count: 1 })
      if (inFull > redelivered)
        violations.push({ invariant: 'I4', what: 'repeats in the full queue', count: inFull - redelivered })
      return { ...figures, violations }
    },
  },
  {
    id: 'F62',
    title: 'max_message_size lowered below one event while running: that one is parked',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { service } = scene.rabbit
      const before = (await service.ctl('eval', 'application:get_env(rabbit, max_message_size, 134217728).')).trim()
      await scene.start()
      await scene.flow(200)
      await service.ctl('eval', 'application:set_env(rabbit, max_message_size, 20000).')
      try {
        // A channel keeps the limit that it was opened with.
        scene.rabbit.proxy.reset()
        await scene.recovers('a channel with the new limit', 10_000)
        const parked = new Set<string>()
        for (let run = 1; run <= runs; run++) {
          await scene.flow(100)
          parked.add(await insertOwn(scene, { aggregate: `large.${run}`, note: 'x'.repeat(30_000) }))
          await scene.bridge.until(({ counters }) => counters.deadLettered >= run, 20_000, 'a dead letter')
          await recoversBut(scene, `the large event is parked ${run}`, 15_000)
        }
        const letters = await deadLetters(scene)
        const right = letters.filter(
          ({ id, code, text }) => parked.has(id) && code === 'EVENT_REFUSED' && /406/.test(text),
        )
        const what = `${letters.length} dead letters, ${right.length} of them as EVENT_REFUSED 406, expected ${runs}`
        scene.expect(letters.length === runs && right.length === runs, 'I1', what)
      } finally {
        await service.ctl('eval', `application:set_env(rabbit, max_message_size, ${Number(/\d+/.exec(before)?.[0])}).`)
      }
      return scene.finish({ runs })
    },
  },
]

function fullQueueRow(type: 'classic' | 'quorum'): Row {
  return {
    id: 'F55',
    title: `queue limit with reject-publish, ${type} queue, slow consumer, many attempts`,
    expect: 'R',
    async run(rig, { seed, runs }) {
      const queues: readonly QueueOptions[] = [{ type, arguments: limited }]
      const scene = await rig.scene({ seed, order: 'aggregate', queues, env: manyAttempts })
      await scene.start()
      await scene.flow(200)
      await fillAgainAndAgain(scene, scene.queues[0]!, 5 * runs)
      await scene.recovers('the consumer is fast again', 30_000)
      const { nacked, deadLettered } = (await scene.bridge.until(() => true)).counters
      scene.expect(nacked > 0, 'I8', 'the queue refused nothing')
      scene.expect(deadLettered === 0, 'I1', `${deadLettered} dead letters before their attempts were used up`)
      return scene.finish({ runs, note: `${nacked} nacks` })
    },
  }
}

/** A slow consumer: it stays away until the queue has refused something, then takes what is there. */
async function fillAgainAndAgain(scene: Scene, { consumer }: Scene['queues'][number], times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    const { nacked } = (await scene.bridge.until(() => true)).counters
    await consumer.pause()
    await scene.bridge.until(({ counters }) => counters.nacked > nacked, 20_000, 'a nack of the full queue')
    await delay(300) // stays full for a moment, so that events are refused again
    const before = consumer.ids.size
    consumer.resume()
    await scene.parts.arrivals.until(() => consumer.ids.size >= before + 100, 20_000)
  }
}
