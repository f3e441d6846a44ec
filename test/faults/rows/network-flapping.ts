import { setTimeout as delay } from 'node:timers/promises'
import { SeededRandom } from '../../support/seeded-random.ts'
import type { Direction, TcpProxy } from '../../support/tcp-proxy.ts'
import type { Row } from '../row.ts'

const directions: readonly (Direction | undefined)[] = ['to-server', 'to-client', undefined]
/** One run. */
const flapping_ms = 20_000

export const flappingRows: readonly Row[] = [
  {
    id: 'F73',
    title: 'both links flap at random, 20 s a run (30 runs are ten minutes)',
    expect: 'R',
    runs: 3,
    timeout: 1200,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ownLinks: true })
      await scene.start()
      const forRabbit = new SeededRandom(seed + 1)
      let flaps = 0
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        const until = Date.now() + flapping_ms
        const { postgres, rabbit } = scene.bridge.links
        const done = await Promise.all([flap(postgres, scene.random, until), flap(rabbit, forRabbit, until)])
        flaps += done[0] + done[1]
        // Bytes that were held up may arrive beside what was sent again.
        scene.mayRunStale(done[1] * scene.parts.window)
        await scene.recovers(`the links are healed ${run}`, 30_000)
      }
      return scene.finish({ runs, note: `${flaps} flaps` })
    },
  },
]

/** Something else every moment, until the time given; resolves, healed, with how often. */
async function flap(link: TcpProxy, random: SeededRandom, until: number): Promise<number> {
  const faults: readonly (() => unknown)[] = [
    () => link.reset(),
    () => link.blackhole(directions[random.between(0, 2)]),
    () => link.latency(random.between(10, 500)),
    () => link.slice(random.between(1, 40)),
    () => link.bandwidth(random.between(2000, 50_000)),
    () => link.resetAfter(random.between(0, 5000), random.chance(0.5) ? 'to-server' : 'to-client'),
    () => link.refuse(true),
  ]
  let count = 0
  for (; Date.now() < until; count++) {
    await faults[random.between(0, faults.length - 1)]?.()
    await delay(random.between(50, 1500))
    link.heal()
    await link.refuse(false)
    await delay(random.between(0, 1000))
  }
  return count
}
