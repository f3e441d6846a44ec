import pg from 'pg'
import { runCommand } from '../../support/bridge-process.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { deadLetters, finishAfterRetry, parked, recoversBut } from './rabbitmq-dead-letters.ts'
import { insertOwn } from './rabbitmq-own-events.ts'

/** A halt that somebody may mend is looked at again after 30 s. */
const mendBound = 45_000

export const exchangeRows: readonly Row[] = [
  {
    id: 'F58',
    title: 'sink.exchange deleted, and made again',
    expect: 'H',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      await scene.flow(300)
      await scene.withChannel((channel) => channel.deleteExchange(scene.exchange))
      await scene.halts('SINK_EXCHANGE_MISSING')
      await makeExchange(scene, 'topic')
      await scene.recovers('the exchange is back', mendBound)
      const kept = (await deadLetters(scene)).length
      scene.expect(kept === 0, 'I1', `${kept} dead letters, though it was no event's fault`)
      return scene.finish({ runs })
    },
  },
  {
    id: 'F58',
    title: 'sink.exchange made again with another type, while sink.topology declares it: halted until it is mended',
    expect: 'H',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({
        seed,
        // The name of the exchange is not known before.
        async beforeInit(env) {
          const { WAL2RABBIT_SINK_EXCHANGE: name } = env
          env.WAL2RABBIT_SINK_TOPOLOGY_EXCHANGES = JSON.stringify([{ name, type: 'topic' }])
        },
      })
      await scene.start()
      await scene.flow(300)
      await remakeExchange(scene, 'fanout')
      scene.rabbit.proxy.reset()
      await scene.halts('SINK_TOPOLOGY')
      await remakeExchange(scene, 'topic')
      await scene.recovers('the exchange is as declared', mendBound)
      return scene.finish({ runs })
    },
  },
  {
    id: 'F58',
    title: 'sink.exchange made again as direct, so that nothing is routed: dead letters, retried after the mend',
    expect: 'D',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ...parked })
      await scene.start()
      await scene.flow(300)
      await remakeExchange(scene, 'direct')
      const { state } = await scene.bridge.until(
        ({ counters }) => counters.deadLettered >= 200,
        mendBound,
        'dead letters',
      )
      scene.expect(state === 'streaming', 'I8', `the state is ${state} instead of streaming`)
      await remakeExchange(scene, 'topic')
      await recoversBut(scene, 'the exchange routes again', mendBound)
      return finishAfterRetry(scene, runs)
    },
  },
  {
    id: 'F58',
    title: "the exchange of an event's own column deleted: only its events become dead letters",
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, beforeInit: addExchangeColumn })
      const { exchange: main } = scene
      const own = `${main}_own`
      const makeOwn = () =>
        scene.withChannel(async (channel) => {
          await channel.assertExchange(own, 'topic')
          await channel.bindQueue(scene.queue, own, '#')
        })
      rig.onCleanup(() => scene.withChannel((channel) => channel.deleteExchange(own)))
      await makeOwn()
      await scene.start()
      await insertOwn(scene, { aggregate: 'own.1', sequence: 1, exchange: own })
      await scene.flow(200)
      await scene.withChannel((channel) => channel.deleteExchange(own))
      const lost = new Set<string>()
      for (let sequence = 2; sequence <= 6; sequence++) {
        lost.add(await insertOwn(scene, { aggregate: 'own.1', sequence, exchange: own }))
        await scene.flow(50)
      }
      await recoversBut(scene, 'its events are dead letters', 20_000)
      const { state } = await scene.bridge.until(() => true)
      const letters = await deadLetters(scene)
      const right = letters.filter(({ id, code }) => lost.has(id) && code === 'EVENT_REFUSED')
      const what = `${letters.length} dead letters, ${right.length} as EVENT_REFUSED of the ${lost.size} events to ${own}`
      scene.expect(letters.length === lost.size && right.length === lost.size, 'I1', what)
      scene.expect(state === 'streaming', 'I8', `the state is ${state} instead of streaming`)
      return scene.finish({ runs, note: `${letters.length} dead letters` })
    },
  },
]

function makeExchange(scene: Scene, type: string): Promise<void> {
  return scene.withChannel(async (channel) => {
    await channel.assertExchange(scene.exchange, type)
    await channel.bindQueue(scene.queue, scene.exchange, '#')
  })
}

/** With nothing on its way, as the exchange is missing for a moment. */
async function remakeExchange(scene: Scene, type: string): Promise<void> {
  scene.load.pause()
  await scene.bridge.until(
    ({ sink, window }) => sink.state !== 'open' || window.messages === 0,
    20_000,
    'an empty window',
  )
  await scene.withChannel(async (channel) => {
    await channel.deleteExchange(scene.exchange)
    await channel.assertExchange(scene.exchange, type)
    await channel.bindQueue(scene.queue, scene.exchange, '#')
  })
  scene.load.resume()
}

/** An outbox whose rows may name their exchange. */
async function addExchangeColumn(env: Record<string, string>): Promise<void> {
  await runCommand(['init'], env)
  const client = new pg.Client({ connectionString: env.WAL2RABBIT_SOURCE_URL })
  await client.connect()
  try {
    await client.query('ALTER TABLE outbox ADD COLUMN exchange text')
  } finally {
    await client.end()
  }
  env.WAL2RABBIT_SOURCE_COLUMNS = '{ exchange: exchange }'
}
