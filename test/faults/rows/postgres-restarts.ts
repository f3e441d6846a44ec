import type { Row } from '../row.ts'

/** Milliseconds from the server's return until all has arrived. */
const back_ms = 15_000

export const restartRows: readonly Row[] = [
  {
    id: 'F20',
    title: 'PostgreSQL killed (all processes) and restarted under load',
    expect: 'R',
    runs: 5,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      const { service } = scene.postgres
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await service.kill()
        await service.start()
        await scene.recovers(`PostgreSQL is back ${run}`, back_ms)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F20',
    title: 'immediate shutdown and restart, the bridge killed meanwhile',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      const { service } = scene.postgres
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await service.stop('immediate')
        await scene.bridge.kill()
        await service.start()
        // The slot went back to what PostgreSQL had written of it.
        await scene.checkHeld(`crash ${run}`)
        scene.bridge.start()
        await scene.recovers(`PostgreSQL is back ${run}`, back_ms)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F21',
    title: 'fast restart of PostgreSQL, the broker is healthy',
    expect: 'R',
    runs: 5,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      const { service } = scene.postgres
      let longest = 0
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        const begun = performance.now()
        await service.stop('fast')
        longest = Math.max(longest, performance.now() - begun)
        await service.start()
        await scene.recovers(`PostgreSQL is back ${run}`, back_ms)
      }
      scene.bound('I10', 'fast shutdown', longest, 2000)
      return scene.finish({ runs, note: `shutdown ${(longest / 1000).toFixed(1)} s` })
    },
  },
  {
    id: 'F23',
    title: 'pg_terminate_backend on the walsender under load',
    expect: 'R',
    quick: true,
    runs: 50,
    quickRuns: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(50)
        const sessions = (await scene.bridge.status())?.counters.reconnects.source ?? 0
        await scene.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [
          scene.slot,
        ])
        await scene.bridge.until(
          ({ state, counters }) => state === 'streaming' && counters.reconnects.source > sessions,
          15_000,
          `a new session after cut ${run}`,
        )
        if (run % 10 === 0 || run === runs) await scene.recovers(`cut ${run}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
]
