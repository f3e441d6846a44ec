import { setTimeout as delay } from 'node:timers/promises'
import type { TcpProxy } from '../../support/tcp-proxy.ts'
import type { RigReplay } from '../rig/replay.ts'
import type { Replays } from '../rig/replays.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { beginHistory, done_ms, slowly } from './replay-history.ts'

/** Replays are killed, or the bridge beside them. */
export const replayKillRows: readonly Row[] = [
  {
    id: 'F09',
    title: 'killed during a replay: at random moments, at its start, between two rows, when its progress was stored',
    expect: 'R',
    quick: true,
    everyTime: true,
    runs: 30,
    quickRuns: 2,
    timeout: 1800,
    async run(rig, { seed, runs, quick }) {
      const { scene, replays, range } = await beginHistory(rig, seed, quick ? 600 : 1200)
      let kills = 0
      while (kills < runs) {
        const deaths = Math.min(runs - kills, scene.random.between(2, 6))
        kills += await killAndFinish(scene, replays, replays.of({ ...range, rate: slowly }), deaths)
      }
      const { counters } = await scene.bridge.until(({ state }) => state === 'streaming')
      const losses = counters.reconnects.source + counters.reconnects.sink
      scene.bound('I8', 'connections that the live stream lost', losses, 0)
      await scene.recovers('the last replay is done', 10_000)
      return scene.finish({ runs: kills, note: await replays.check() })
    },
  },
  {
    id: 'F09',
    title: 'killed during a replay while the bridge is down: stored LSN and slot stand still',
    expect: 'R',
    runs: 30,
    timeout: 1800,
    async run(rig, { seed, runs }) {
      const { scene, replays, range } = await beginHistory(rig, seed, 1200)
      await scene.bridge.stop()
      const before = await positions(scene)
      let kills = 0
      while (kills < runs) {
        const deaths = Math.min(runs - kills, scene.random.between(2, 6))
        kills += await killAndFinish(scene, replays, replays.of({ ...range, rate: slowly }), deaths)
        const after = await positions(scene)
        scene.expect(after === before, 'G9', `the live positions were ${before}, and are ${after} after a replay`)
      }
      scene.bridge.start()
      await scene.recovers('the bridge is back', 30_000)
      return scene.finish({ runs: kills, note: await replays.check() })
    },
  },
  {
    id: 'F09',
    title: 'bridge killed during a replay',
    expect: 'R',
    quick: true,
    runs: 30,
    quickRuns: 2,
    timeout: 1800,
    async run(rig, { seed, runs, quick }) {
      const { scene, replays, range } = await beginHistory(rig, seed, quick ? 900 : 3000)
      const { bridge, random } = scene
      let replay: RigReplay | undefined
      for (let kill = 1; kill <= runs; kill++) {
        if (replay?.isRunning !== true) {
          await replay?.done(done_ms)
          replay = replays.of({ ...range, rate: slowly })
          await replay.start()
          await replay.until(1)
        }
        await bridge.until(({ state }) => state === 'streaming', 90_000)
        await delay(random.between(0, 700))
        await bridge.kill()
        await scene.checkHeld(`kill ${kill}`)
        bridge.start()
      }
      await scene.recovers('the last kill', 15_000)
      await replay?.done(done_ms)
      return scene.finish({ runs, note: await replays.check() })
    },
  },
]

/** Kills it so many times, and lets it come to its end. Gives how often it was killed before that. */
async function killAndFinish(scene: Scene, replays: Replays, replay: RigReplay, deaths: number): Promise<number> {
  for (let kills = 0; kills < deaths; kills++) {
    if (!(await killOnce(scene, replays.link, replay))) return kills
    // Killed when all was recorded, a moment before its end.
    if ((await replay.record())?.state === 'done') return kills + 1
  }
  await replay.start()
  await replay.done(done_ms)
  return deaths
}

/** False when it came to its end before. */
async function killOnce({ random }: Scene, link: TcpProxy, replay: RigReplay): Promise<boolean> {
  const points = [
    'replay-started:1',
    `replay-row:${random.between(1, 500)}`,
    `replay-stored:${random.between(1, 2)}`,
    undefined,
    undefined,
    undefined,
  ]
  const failPoint = points[random.between(0, points.length - 1)]
  if (failPoint !== undefined) {
    await replay.start({ failPoint })
    return replay.died()
  }
  await replay.start()
  // Some are killed while they start, most while they publish.
  if (random.chance(0.7)) await replay.until(1)
  await delay(random.between(0, 1200))
  // With a broker that answers, everything is in its hands a moment later, and nothing shows.
  const loses = random.chance(0.5)
  if (loses) {
    link.blackhole()
    await delay(random.between(0, 2000))
  }
  const died = replay.isRunning
  if (died) await replay.kill()
  if (loses) {
    // Not heal() alone: what waits in a black hole is not to arrive.
    link.reset()
    link.heal()
  }
  return died || replay.died()
}

/** Of the live stream: stored, with its version, and acknowledged. */
async function positions(scene: Scene): Promise<string> {
  const [row] = await scene.query(
    `SELECT format('stored %s (version %s), acknowledged %s', c.lsn, c.version, s.confirmed_flush_lsn) AS text
     FROM wal2rabbit.checkpoint c JOIN pg_replication_slots s ON s.slot_name = c.slot WHERE c.slot = $1`,
    [scene.slot],
  )
  return String(row?.text)
}
