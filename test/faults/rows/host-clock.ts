import { setTimeout as delay } from 'node:timers/promises'
import type { Row } from '../row.ts'

/** Hours, one after the other. */
const jumps = [3, -9, 48, -40, -26]

export const clockRows: readonly Row[] = [
  {
    id: 'F82',
    title: 'clock of the bridge jumps by hours, forward and back',
    expect: 'R',
    runs: 5,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      const imports = [new URL('./host-clock.mjs', import.meta.url).pathname]
      bridge.start({ imports, env: { WAL2RABBIT_TEST_CLOCK_JUMPS: jumps.join() } })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        const before = await bridge.until(() => true)
        bridge.signal('SIGUSR2')
        await scene.recovers(`jump ${run}`, 3000)
        // Long enough for whatever counts by the clock to have fired.
        await delay(2000)
        await scene.flow(200)
        const { state, counters, lag } = await bridge.until(() => true)
        const { source, sink } = before.counters.reconnects
        const reconnects = counters.reconnects.source - source + counters.reconnects.sink - sink
        scene.bound('I8', `reconnects for jump ${run}`, reconnects, 0)
        scene.expect(state === 'streaming', 'I8', `${state} after jump ${run}`)
        scene.expect(lag.seconds >= 0, 'I8', `a lag of ${lag.seconds} s after jump ${run}`)
      }
      const jumped = bridge.log.split('the clock jumps').length - 1
      scene.expect(jumped === runs, 'I8', `the clock jumped ${jumped} times instead of ${runs}`)
      // Sessions that are made while the clock is wrong.
      scene.postgres.proxy.reset()
      scene.rabbit.proxy.reset()
      await scene.recovers('both links reset with a wrong clock', 10_000)
      return scene.finish({ runs })
    },
  },
]
