import { setTimeout as delay } from 'node:timers/promises'
import type { FakePublish } from '../../support/fake-amqp-server.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { type ScriptedBroker, scriptedScene } from './rabbitmq-scripted.ts'
import { ConfirmStorm } from './rabbitmq-storm.ts'

/** How long the first of some publishes stays without an answer: long enough for several stores, if there were any. */
const withheld_ms = 600

export const confirmRows: readonly Row[] = [
  {
    id: 'F63',
    title: 'scripted broker: one confirm comes late, those behind it come first; killed meanwhile',
    expect: 'R',
    runs: 4,
    async run(rig, { seed, runs }) {
      const { scene, broker } = await scriptedScene(rig, { seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        if (run % 2 === 1) {
          const held = await withholdOne(broker, {
            held: (publish) => broker.store(publish),
            others: (publish) => broker.storeAndConfirm(publish),
          })
          await delay(withheld_ms)
          held.connection.ack(held.tag)
        } else {
          // Confirmed, and in truth not stored: so a stored position behind the one that is withheld would be a loss.
          await withholdOne(broker, { held: () => undefined, others: ({ connection, tag }) => connection.ack(tag) })
          await delay(withheld_ms)
          await scene.bridge.kill()
          await scene.checkHeld(`confirms of the others ${run}`)
          scene.bridge.start()
        }
        broker.behave()
        await scene.recovers(`the confirm of the first ${run}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F63',
    title: 'scripted broker: confirms of unknown tags while one event is not stored',
    expect: 'R',
    quick: true,
    runs: 6,
    quickRuns: 2,
    run: (rig, { seed, runs }) =>
      recycles(scriptedScene(rig, strict(seed)), runs, ({ connection, tag }, run) => {
        connection.ack([tag + 100_000, 0x7fff_ffff][run % 2] ?? 0, run % 3 === 0)
      }),
  },
  {
    id: 'F63',
    title: 'scripted broker: confirms repeated, single and multiple, while one event is not stored',
    expect: 'R',
    runs: 6,
    run: (rig, { seed, runs }) =>
      // The tags before the one that is withheld have all been answered.
      recycles(scriptedScene(rig, strict(seed)), runs, ({ connection, tag }, run) => {
        connection.ack(tag - 1, run % 2 === 0)
      }),
  },
  {
    id: 'F63',
    title: 'scripted broker: a confirm that never comes, with sink.confirmTimeout of 3 s',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const env = { WAL2RABBIT_SINK_CONFIRM_TIMEOUT: '3s' }
      const { scene, broker } = await scriptedScene(rig, { ...strict(seed), env })
      const { bridge } = scene
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        const losses = bridge.brokerLosses
        await withholdOne(broker, {
          held: () => undefined,
          others: (publish) => broker.storeAndConfirm(publish),
        })
        await bridge.until(() => bridge.brokerLosses > losses, 10_000, 'another channel')
        broker.behave()
        await scene.recovers(`the confirm was overdue ${run}`, 15_000)
      }
      const said = bridge.log.split('SINK_CONFIRM_OVERDUE').length - 1
      scene.expect(said >= runs, 'I8', `SINK_CONFIRM_OVERDUE was logged ${said} times, expected ${runs}`)
      return scene.finish({ runs })
    },
  },
  {
    id: 'F63',
    title: 'scripted broker: storms of multiple, overlapping, with nacks between them',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const { scene, broker } = await scriptedScene(rig, { ...strict(seed), env: shortRetries })
      const storm = new ConfirmStorm(broker, scene.random)
      broker.script((publish, n) => storm.take(publish, n))
      await scene.start()
      await scene.flow(1500)
      const { counters } = await scene.bridge.until(() => true)
      scene.expect(counters.nacked > 0, 'I8', 'nothing was nacked')
      scene.expect(scene.bridge.brokerLosses === 0, 'I8', 'a channel was given up, though all answers were right')
      return scene.finish({ runs, note: `${counters.nacked} nacks` })
    },
  },
  {
    id: 'F63',
    title: 'scripted broker: every 20th event returned and then acknowledged, and not stored',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const { scene, broker } = await scriptedScene(rig, { ...strict(seed), env: shortRetries })
      const returned = new Set<unknown>()
      broker.script((publish, n) => {
        const { messageId } = publish.properties
        if (n % 20 !== 0 || returned.has(messageId)) return broker.storeAndConfirm(publish)
        returned.add(messageId)
        publish.connection.return(publish)
        publish.connection.ack(publish.tag)
      })
      await scene.start()
      await scene.flow(600)
      await scene.bridge.kill()
      await scene.checkHeld('returned, then acknowledged')
      scene.bridge.start()
      await scene.recovers('the kill', 10_000)
      scene.expect(returned.size > 10, 'I8', `only ${returned.size} events were returned`)
      return scene.finish({ runs, note: `${returned.size} returned` })
    },
  },
]

/** An event waits for the one before it in its aggregate, by way of two brokers: so not too many. */
const strict = (seed: number) => ({ seed, order: 'aggregate', load: { rate: 150 } }) as const

const shortRetries = {
  WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '100',
  WAL2RABBIT_DELIVERY_RETRY_INITIAL_DELAY: '20ms',
  WAL2RABBIT_DELIVERY_RETRY_MAX_DELAY: '100ms',
}

interface Withholding {
  /** What becomes of the next publish; it is not confirmed. */
  readonly held: (publish: FakePublish) => void
  /** What becomes of all after it. */
  readonly others: (publish: FakePublish) => void
}

/** Resolves with the next publish when 20 more have come. */
function withholdOne(broker: ScriptedBroker, { held, others }: Withholding): Promise<FakePublish> {
  return new Promise((resolve) => {
    let first: FakePublish | undefined
    broker.script((publish, n) => {
      first ??= publish
      if (n === 1) held(publish)
      else others(publish)
      if (n === 20) resolve(first)
    })
  })
}

/**
 * One event is withheld, then comes an answer that cannot be right: the channel is replaced and all that is unsettled is
 * sent again. Killed in between, everything at or below what is stored must be in the queue.
 */
async function recycles(
  making: Promise<{ readonly scene: Scene; readonly broker: ScriptedBroker }>,
  runs: number,
  lie: (withheld: FakePublish, run: number) => void,
) {
  const { scene, broker } = await making
  const { bridge } = scene
  await scene.start()
  for (let run = 1; run <= runs; run++) {
    await scene.flow(100)
    const losses = bridge.brokerLosses
    const held = await withholdOne(broker, {
      held: () => undefined,
      others: (publish) => broker.storeAndConfirm(publish),
    })
    await delay(withheld_ms)
    // Nothing is stored from here on, whatever the bridge sends.
    broker.script(() => undefined)
    lie(held, run)
    await bridge.until(() => bridge.brokerLosses > losses, 10_000, 'another channel')
    if (run % 2 === 0) {
      await delay(withheld_ms)
      await bridge.kill()
      await scene.checkHeld(`a wrong confirm ${run}`)
    }
    broker.behave()
    if (bridge.isRunning) broker.server.last.cut()
    else bridge.start()
    await scene.recovers(`a wrong confirm ${run}`, 15_000)
  }
  const said = bridge.log.split('SINK_PROTOCOL').length - 1
  scene.expect(said >= runs, 'I8', `SINK_PROTOCOL was logged ${said} times, expected ${runs}`)
  return scene.finish({ runs })
}
