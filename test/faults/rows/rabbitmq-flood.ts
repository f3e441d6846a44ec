import { setTimeout as delay } from 'node:timers/promises'
import { readDeadLetters } from '../rig/bookkeeping.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { insertAllOwn, type OwnEvent } from './rabbitmq-own-events.ts'

/** Good events in each half; 2,000 a second. */
const events = 20_000
const atOnce = 100
const interval_ms = 50

export const floodRows: readonly Row[] = [
  {
    id: 'F59',
    title: '20,000 events to one dead route among 20,000 good ones, which keep half of their rate',
    expect: 'D',
    timeout: 400,
    async run(rig, { seed, runs }) {
      // Bound for the first writer's keys only.
      const scene = await rig.scene({ seed, window: 2000, queues: [{ writers: [0] }] })
      scene.bridge.start()
      await scene.bridge.until(({ state }) => state === 'streaming')
      let worst = Number.POSITIVE_INFINITY
      for (let run = 1; run <= runs; run++) {
        const alone = await passGood(scene, `w0.alone${run}`, undefined)
        const flooded = await passGood(scene, `w0.flooded${run}`, `nowhere.${run}`)
        rig.say(`alone ${Math.round(alone)} ms, flooded ${Math.round(flooded)} ms`)
        worst = Math.min(worst, alone / flooded)
        scene.bound(
          'I8',
          'time of the good events within the flood, of that without, in percent',
          (100 * flooded) / alone,
          200,
        )
      }
      await scene.bridge.until(({ window }) => window.messages === 0, 120_000, 'everything settled')
      const { state } = await scene.bridge.until(() => true)
      scene.expect(state === 'streaming', 'I8', `the state is ${state} instead of streaming`)
      const dead = await readDeadLetters(scene.query.bind(scene), scene.slot)
      const unroutable = [...scene.load.ledger.committed].filter(([, { aggregate }]) => aggregate.startsWith('nowhere'))
      const lost = unroutable.filter(([id]) => !dead.has(id)).length
      scene.expect(lost === 0, 'I1', `${lost} of ${unroutable.length} unroutable events are no dead letters`)
      scene.expect(dead.size === unroutable.length, 'I1', `${dead.size} dead letters instead of ${unroutable.length}`)
      return scene.finish({ runs, note: `good events keep ${worst.toFixed(2)} of their rate` })
    },
  },
]

/** Writes the good events at a steady rate, each with one to nowhere before it if asked; milliseconds until the last has arrived. */
async function passGood(scene: Scene, good: string, nowhere: string | undefined): Promise<number> {
  const { ids } = scene.consumer
  const target = ids.size + events
  const begun = performance.now()
  for (let written = 0; written < events; written += atOnce) {
    const batch: OwnEvent[] = []
    for (let sequence = written + 1; sequence <= written + atOnce; sequence++) {
      if (nowhere !== undefined) batch.push({ aggregate: nowhere, sequence })
      batch.push({ aggregate: good, sequence })
    }
    await insertAllOwn(scene, batch)
    await delay(Math.max(0, begun + (written / atOnce + 1) * interval_ms - performance.now()))
  }
  if (!(await scene.parts.arrivals.until(() => ids.size >= target, 120_000))) throw new Error(`${good} has not arrived`)
  return performance.now() - begun
}
