import { setTimeout as delay } from 'node:timers/promises'
import type { Row } from '../row.ts'

export const stopRows: readonly Row[] = [
  {
    id: 'F08',
    title: 'stopped gracefully under load and started again',
    expect: 'R',
    quick: true,
    runs: 20,
    quickRuns: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let stop = 1; stop <= runs; stop++) {
        await scene.flow(200)
        const code = await scene.bridge.stop()
        scene.expect(code === 0, 'I8', `stop ${stop} ended with ${code} instead of 0`)
        await scene.checkHeld(`stop ${stop}`)
        scene.bridge.start()
        await scene.recovers(`stop ${stop}`, 10_000)
      }
      const figures = await scene.finish({ runs })
      const what = `${figures.repeated} repeats after graceful stops`
      const unexpected = figures.repeated === 0 ? [] : [{ invariant: 'I4' as const, what, count: figures.repeated }]
      return { ...figures, violations: [...figures.violations, ...unexpected] }
    },
  },
  {
    id: 'F08',
    title: 'a second SIGTERM while it drains into a broker that does not answer',
    expect: 'R',
    runs: 5,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      await scene.start()
      for (let stop = 1; stop <= runs; stop++) {
        await scene.flow(200)
        scene.rabbit.proxy.blackhole()
        await bridge.until(({ window }) => window.inFlight > 0)
        bridge.signal('SIGTERM')
        await bridge.until(({ state }) => state === 'draining')
        const begun = performance.now()
        const code = await bridge.stop()
        scene.bound('I8', `end after the second signal ${stop}`, performance.now() - begun, 2000)
        scene.expect(code === 1, 'I8', `the second signal ended it with ${code} instead of 1`)
        scene.mayRunStale(scene.parts.window)
        scene.rabbit.proxy.heal()
        await scene.checkHeld(`second signal ${stop}`)
        bridge.start()
        await scene.recovers(`second signal ${stop}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F08',
    title: 'the broker does not answer within shutdown.timeout; killed after the grace time',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, env: { WAL2RABBIT_SHUTDOWN_TIMEOUT: '3s' } })
      const { bridge } = scene
      await scene.start()
      for (let stop = 1; stop <= runs; stop++) {
        await scene.flow(200)
        scene.rabbit.proxy.blackhole()
        await bridge.until(({ window }) => window.inFlight > 0)
        const begun = performance.now()
        bridge.signal('SIGTERM')
        // The platform's grace time is over in the middle of the drain, or the bridge gives up by itself.
        if (stop % 2 === 1) {
          await bridge.exited(20_000)
          scene.bound('I8', `drain ${stop} that could not end`, performance.now() - begun, 8000)
        } else {
          await delay(1000)
          await bridge.kill()
        }
        scene.mayRunStale(scene.parts.window)
        scene.rabbit.proxy.heal()
        await scene.checkHeld(`grace time ${stop}`)
        bridge.start()
        await scene.recovers(`grace time ${stop}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
  pauseRow({ title: 'SIGSTOP for 5 s, then SIGCONT', seconds: 5, quick: false, runs: 5, losses: 0 }),
  pauseRow({
    title: 'SIGSTOP for 90 s, past both timeouts, then SIGCONT',
    seconds: 90,
    quick: false,
    runs: 2,
    losses: 1,
  }),
  {
    id: 'F13',
    title: 'event loop blocked for 20 s',
    expect: 'R',
    runs: 3,
    timeout: 400,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      scene.bridge.start({ imports: ['block-loop.mjs'], env: { WAL2RABBIT_BLOCK_MS: '20000' } })
      await scene.start()
      for (let block = 1; block <= runs; block++) {
        await scene.flow(300)
        scene.bridge.signal('SIGUSR2')
        await delay(20_000)
        await scene.recovers(`the loop runs again ${block}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F13',
    title: 'heap limited to 128 MB, window of 4,000 and a backlog of 30,000 events',
    expect: 'R',
    timeout: 400,
    async run(rig, { seed, runs, quick }) {
      const scene = await rig.scene({ seed, window: 4000, load: { rate: 3000, writers: 8 } })
      scene.load.start()
      while (scene.load.ledger.committed.size < (quick ? 5000 : 30_000)) await delay(100)
      for (let run = 0; run < runs; run++) {
        if (!scene.bridge.isRunning) scene.bridge.start({ nodeOptions: ['--max-old-space-size=128'] })
        await scene.recovers('the backlog is sent', 60_000)
      }
      scene.expect(scene.bridge.isRunning, 'I8', 'the process ended')
      return scene.finish({ runs })
    },
  },
]

interface PauseOptions {
  readonly title: string
  readonly seconds: number
  readonly quick: boolean
  readonly runs: number
  /** Connections to the broker that are lost at least. */
  readonly losses: number
}

function pauseRow({ title, seconds, quick, runs, losses }: PauseOptions): Row {
  return {
    id: 'F12',
    title,
    expect: 'R',
    quick,
    runs,
    timeout: 120 + runs * (seconds + 30),
    async run(rig, options) {
      const scene = await rig.scene({ seed: options.seed })
      const { bridge } = scene
      await scene.start()
      for (let run = 1; run <= options.runs; run++) {
        await scene.flow(300)
        const { brokerLosses } = bridge
        const before = await bridge.status()
        bridge.pause()
        await delay(seconds * 1000)
        bridge.resume()
        await scene.recovers(`SIGCONT ${run}`, 20_000)
        const after = await bridge.status()
        const lost = bridge.brokerLosses - brokerLosses
        const sessions = (after?.counters.reconnects.source ?? 0) - (before?.counters.reconnects.source ?? 0)
        scene.expect(lost >= losses, 'I8', `${lost} broker connections were given up, not ${losses}`)
        scene.expect(sessions >= losses, 'I8', `${sessions} replication connections were given up, not ${losses}`)
      }
      return scene.finish({ runs: options.runs })
    },
  }
}
