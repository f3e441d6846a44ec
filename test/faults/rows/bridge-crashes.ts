import { setTimeout as delay } from 'node:timers/promises'
import type { FailPointName } from '../../../src/base/fail-point.ts'
import { runCommand } from '../../support/bridge-process.ts'
import { SeededRandom } from '../../support/seeded-random.ts'
import type { Direction } from '../../support/tcp-proxy.ts'
import type { FaultId } from '../matrix.ts'
import type { RigBridge } from '../rig/bridge.ts'
import type { QueueOptions } from '../rig/scene-options.ts'
import type { Row } from '../row.ts'

/** Confirms of two kinds of queues overtake each other. */
const unlikeQueues: readonly QueueOptions[] = [
  { type: 'quorum', writers: [0, 1] },
  { type: 'classic', writers: [2, 3] },
]

/** No queue takes the events of the last writer. */
const deadQueue: readonly QueueOptions[] = [{ writers: [0, 1, 2] }]

export const crashRows: readonly Row[] = [
  crashRow('F01', 'begin', { nth: [1, 3], title: 'killed before the first Begin' }),
  crashRow('F02', 'row', { nth: [2, 300], title: 'killed in the middle of a transaction' }),
  crashRow('F03', 'published', { everyTime: true, nth: [1, 40], title: 'killed after publish, before its confirm' }),
  lostWindowRow('to-server', 'killed with a full window that never reached the broker'),
  lostWindowRow('to-client', 'killed with a full window whose confirms never came back'),
  crashRow('F04', 'answered-out-of-order', {
    nth: [1, 10],
    title: 'killed when confirms came out of order and the lowest is missing',
    queues: unlikeQueues,
  }),
  crashRow('F05', 'settled', { nth: [1, 10], title: 'killed when all is confirmed and not yet stored' }),
  crashRow('F06', 'stored', { nth: [1, 10], title: 'killed after storing, before acknowledging' }),
  crashRow('F07', 'acknowledged', { nth: [1, 10], title: 'killed after acknowledging' }),
  crashRow('F09', 'dead-letter', {
    quick: false,
    nth: [1, 3],
    title: 'killed before a dead letter is stored',
    queues: deadQueue,
  }),
  crashRow('F09', 'dead-letter-kept', {
    nth: [1, 3],
    title: 'killed after a dead letter was stored',
    queues: deadQueue,
  }),
  {
    id: 'F09',
    title: 'killed during init',
    expect: 'R',
    quick: true,
    everyTime: true,
    runs: 40,
    quickRuns: 5,
    async run(rig, { seed, runs }) {
      const random = new SeededRandom(seed)
      let killed = 0
      const scene = await rig.scene({
        seed,
        async beforeInit(env) {
          const begun = performance.now()
          await runCommand(['--version'], env, { ownProcess: true })
          const startUp = Math.round(performance.now() - begun)
          for (let n = 0; n < runs; n++) {
            const { code } = await runCommand(['init'], env, {
              killAfter: Math.round(startUp * 0.7) + random.between(0, 500),
            })
            if (code === null) killed++
          }
        },
      })
      const slots = await scene.query(
        'SELECT slot_name FROM pg_replication_slots WHERE plugin = $1 AND slot_name = $2',
        ['pgoutput', scene.slot],
      )
      scene.expect(slots.length === 1, 'I9', `${slots.length} slots instead of one`)
      await scene.start()
      await scene.flow(300)
      return scene.finish({ runs, note: `${killed} of ${runs} before its end` })
    },
  },
  {
    id: 'F11',
    title: 'killed at random moments under load',
    expect: 'R',
    runs: 200,
    timeout: 900,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { random, bridge } = scene
      await scene.start()
      for (let kill = 1; kill <= runs; kill++) {
        // Some are killed while they start, most while they stream.
        if (random.chance(0.8)) await bridge.until(({ state }) => state === 'streaming')
        await delay(random.between(0, 400))
        // With a broker that answers, everything received is in its hands a moment later, and nothing shows.
        if (random.chance(0.4)) {
          bridge.links.rabbit.blackhole()
          await delay(random.between(0, 300))
        }
        await bridge.kill()
        loseWhatIsOnItsWay(bridge)
        await scene.checkHeld(`kill ${kill}`)
        bridge.start()
        if (kill % 10 === 0) await scene.recovers(`kill ${kill}`, 10_000)
      }
      await scene.recovers('the last kill', 10_000)
      return scene.finish({ runs })
    },
  },
]

/** Unlike heal() alone: what waits in a black hole does not arrive. */
function loseWhatIsOnItsWay({ links }: RigBridge): void {
  links.rabbit.reset()
  links.rabbit.heal()
}

function lostWindowRow(direction: Direction, title: string): Row {
  return {
    id: 'F03',
    title,
    expect: 'R',
    quick: direction === 'to-server',
    runs: 10,
    quickRuns: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, load: { rate: 1000 } })
      const { bridge, parts } = scene
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        bridge.links.rabbit.blackhole(direction)
        await bridge.until(({ window }) => window.inFlight >= parts.window, 20_000, 'a full window')
        await delay(2 * parts.storeInterval)
        await bridge.kill()
        loseWhatIsOnItsWay(bridge)
        await scene.checkHeld(`kill ${run}`)
        bridge.start()
        await scene.recovers(`kill ${run}`, 15_000)
      }
      return scene.finish({ runs })
    },
  }
}

interface CrashOptions {
  readonly title: string
  /** At which hit it dies, at random in this range. */
  readonly nth: readonly [number, number]
  readonly queues?: readonly QueueOptions[]
  /** true when absent */
  readonly quick?: boolean
  readonly everyTime?: boolean
}

/** Dies at a named moment under load; after each death what is stored must be held, and then it must go on. */
function crashRow(
  id: FaultId,
  point: FailPointName,
  { title, nth, queues, quick = true, everyTime = false }: CrashOptions,
): Row {
  return {
    id,
    title,
    expect: 'R',
    quick,
    everyTime,
    runs: 10,
    quickRuns: 1,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ...(queues !== undefined && { queues }) })
      const { random, bridge } = scene
      scene.load.start()
      for (let run = 1; run <= runs; run++) {
        bridge.start({ failPoint: `${point}:${random.between(...nth)}` })
        await bridge.died(60_000)
        await scene.checkHeld(`death ${run}`)
      }
      bridge.start()
      await scene.recovers('the last death', 15_000)
      return scene.finish({ runs })
    },
  }
}
