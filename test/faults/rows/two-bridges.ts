import type { RigBridge } from '../rig/bridge.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'

/** Milliseconds; a take-over after a kill takes at most so long. */
const killBounds = { median: 2000, worst: 5000 }
const walSenderTimeout = 5000
/** A slot is free when its walsender has given up; then the stand-by must see it. */
const cutBound = walSenderTimeout + killBounds.worst

export const twoBridgeRows: readonly Row[] = [
  {
    id: 'F28',
    title: 'two bridges, the active one killed',
    expect: 'R',
    quick: true,
    runs: 50,
    quickRuns: 3,
    timeout: 600,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, bridges: 2 })
      await scene.start()
      const took: number[] = []
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        const active = await activeOf(scene)
        await active.kill()
        took.push(await scene.untilNewEvent())
        active.start()
        await active.until(({ state }) => state === 'standby')
      }
      scene.bound('I8', 'median take-over', medianOf(took), killBounds.median)
      scene.bound('I8', 'worst take-over', Math.max(...took), killBounds.worst)
      scene.notes.recoveries_ms.push(...took)
      return scene.finish({ runs, note: noteOf(took) })
    },
  },
  {
    id: 'F28',
    title: 'two bridges, the active one stopped (SIGSTOP) until the other has taken over',
    expect: 'R',
    runs: 10,
    timeout: 600,
    run: (rig, { seed, runs }) =>
      takeOvers(rig.scene(cutOff(seed)), runs, {
        cut: (bridge) => bridge.pause(),
        mend: (bridge) => bridge.resume(),
        stale: 0,
      }),
  },
  {
    id: 'F29',
    title: 'two bridges, the active one cut off from PostgreSQL',
    expect: 'R',
    runs: 10,
    timeout: 600,
    run: (rig, { seed, runs }) =>
      takeOvers(rig.scene(cutOff(seed)), runs, {
        cut: ({ links }) => links.postgres.blackhole(),
        mend: ({ links }) => links.postgres.heal(),
        stale: 0,
      }),
  },
  {
    id: 'F29',
    title: 'two bridges, the active one cut off from PostgreSQL and RabbitMQ',
    expect: 'R',
    runs: 10,
    timeout: 600,
    run: (rig, { seed, runs }) =>
      takeOvers(rig.scene(cutOff(seed)), runs, {
        cut({ links }) {
          links.postgres.blackhole()
          links.rabbit.blackhole()
        },
        mend({ links }) {
          links.postgres.heal()
          links.rabbit.heal()
        },
        // What was on its way to the broker arrives when the network is back, and no publisher can take it back.
        stale: 1,
      }),
  },
]

function cutOff(seed: number) {
  return { seed, bridges: 2, ownLinks: true, env: { WAL2RABBIT_SOURCE_WAL_SENDER_TIMEOUT: `${walSenderTimeout}ms` } }
}

interface Cut {
  readonly cut: (active: RigBridge) => void
  readonly mend: (active: RigBridge) => void
  /** Windows that may arrive late. */
  readonly stale: number
}

async function takeOvers(making: Promise<Scene>, runs: number, { cut, mend, stale }: Cut) {
  const scene = await making
  await scene.start()
  const took: number[] = []
  for (let run = 1; run <= runs; run++) {
    await scene.flow(200)
    const active = await activeOf(scene)
    const other = scene.bridges.find((bridge) => bridge !== active)
    const begun = performance.now()
    cut(active)
    await other?.until(({ state }) => state === 'streaming', 60_000, 'take-over')
    await scene.untilNewEvent()
    took.push(performance.now() - begun)
    await scene.flow(100)
    mend(active)
    scene.mayRunStale(stale * scene.parts.window)
    await active.until(({ state }) => state === 'standby', 60_000, 'stand-by of the one that was cut off')
    await scene.recovers(`run ${run}`, 10_000)
  }
  scene.bound('I8', 'worst take-over', Math.max(...took), cutBound)
  return scene.finish({ runs, note: noteOf(took) })
}

async function activeOf(scene: Scene): Promise<RigBridge> {
  const active = await scene.active()
  if (active === undefined) throw new Error(`no bridge streams\n${scene.logsEnd()}`)
  return active
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}

function noteOf(took: readonly number[]): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  return `take-over ${seconds(medianOf(took))} median, ${seconds(Math.max(...took))} worst`
}
