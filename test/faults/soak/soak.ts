import { setTimeout as delay } from 'node:timers/promises'
import { SeededRandom } from '../../support/seeded-random.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures } from '../row.ts'
import { recoversBut } from '../rows/rabbitmq-dead-letters.ts'
import { nearActions, type Resource, type SoakAction } from './actions.ts'
import { postgresActions, rabbitActions } from './server-actions.ts'

/** Milliseconds between the beginnings of two faults: about 15 a minute, inspections counted in. */
const pause = { low: 500, high: 3500 }
/** After so many faults all heals, both bridges are killed, and what is stored is compared with what is there. */
const faultsBetweenInspections = 12
const recoveryBound = 60_000

export interface SoakResult {
  readonly figures: Figures
  /** How often each fault was made. */
  readonly counts: ReadonlyMap<string, number>
  readonly deadLetters: number
  readonly seconds: number
}

/** Random faults on all sides at once, under load, with two bridges on the slot; then all invariants. */
export async function soak(rig: Rig, seed: number, duration_ms: number): Promise<SoakResult> {
  const scene = await rig.scene({
    seed,
    bridges: 2,
    // Queues refuse at random here: in commit order what was in flight behind a refused event overtakes it.
    order: 'aggregate',
    ownLinks: true,
    load: { rate: 200 },
    env: { WAL2RABBIT_SOURCE_WAL_SENDER_TIMEOUT: '10s', WAL2RABBIT_SINK_HEARTBEAT: '5s' },
  })
  const random = new SeededRandom(seed)
  const counts = new Map<string, number>()
  const begun = Date.now()
  await scene.start()
  for (let round = 1; Date.now() - begun < duration_ms; round++) {
    await makeFaults(scene, random, counts, rig.say)
    await inspect(scene, `inspection ${round}`)
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
    const minutes = ((Date.now() - begun) / 60_000).toFixed(1)
    rig.say(`${minutes} min, ${total} faults, ${scene.load.ledger.committed.size} events`)
  }
  const faults = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const figures = await scene.finish({ runs: faults, patience: 120_000 })
  const [row] = await scene.query('SELECT count(*)::int AS count FROM wal2rabbit.dead_letter')
  return { figures, counts, deadLetters: Number(row?.count), seconds: (Date.now() - begun) / 1000 }
}

/** Faults that overlap in time, each on what no other one has; resolves when all have healed. */
async function makeFaults(
  scene: Scene,
  random: SeededRandom,
  counts: Map<string, number>,
  say: (line: string) => void,
): Promise<void> {
  const heal = new AbortController()
  const taken = new Set<Resource>()
  const running = new Set<Promise<void>>()
  const holdWith =
    (own: SeededRandom) =>
    async (low: number, high: number): Promise<void> => {
      await delay(own.between(low, high), undefined, { signal: heal.signal }).catch(() => undefined)
    }
  for (let fault = 0; fault < faultsBetweenInspections; fault++) {
    const action = choose(random, taken)
    // Of its own, as faults go on beside each other: who draws next would be a matter of time.
    const own = new SeededRandom(random.between(0, 2 ** 31))
    counts.set(action.name, (counts.get(action.name) ?? 0) + 1)
    for (const resource of action.needs) taken.add(resource)
    const run = action
      .run({ scene, random: own, hold: holdWith(own) })
      // A fault that cannot be made, as its server is just being restarted by another one, is no failure.
      .catch((error: unknown) => say(`${action.name}: ${error instanceof Error ? error.message : String(error)}`))
      .finally(() => {
        for (const resource of action.needs) taken.delete(resource)
        running.delete(run)
      })
    running.add(run)
    await holdWith(random)(pause.low, pause.high)
  }
  heal.abort()
  await Promise.all(running)
  await healAll(scene)
}

const actions: readonly SoakAction[] = [...nearActions, ...postgresActions, ...rabbitActions].flatMap((action) =>
  Array.from({ length: action.weight ?? 1 }, () => action),
)

/** There is always a free one: those of the links are 28, and no fault holds several of them. */
function choose(random: SeededRandom, taken: ReadonlySet<Resource>): SoakAction {
  const free = actions.filter(({ needs }) => needs.every((resource) => !taken.has(resource)))
  return free[random.between(0, free.length - 1)] ?? actions[0]!
}

/** Whatever a fault that failed half-way has left. */
async function healAll({ bridges, postgres, rabbit, consumer }: Scene): Promise<void> {
  await postgres.service.resume()
  await postgres.service.start()
  await rabbit.service.resume()
  await rabbit.service.start()
  consumer.resume()
  for (const bridge of bridges) {
    for (const link of [bridge.links.postgres, bridge.links.rabbit]) {
      await link.refuse(false)
      link.heal()
    }
    bridge.resume()
    if (!bridge.isRunning) bridge.start()
  }
}

/** All is healed: both must be well, and after a kill of both everything stored must be held. */
async function inspect(scene: Scene, what: string): Promise<void> {
  await recoversBut(scene, what, recoveryBound)
  for (const bridge of scene.bridges) {
    await bridge
      .until(({ state }) => state === 'streaming' || state === 'standby', recoveryBound, `${what}: calm`)
      .catch((error: unknown) => scene.expect(false, 'I8', String(error)))
  }
  await Promise.all(scene.bridges.map((bridge) => bridge.kill()))
  await scene.checkHeld(what)
  for (const bridge of scene.bridges) bridge.start()
}
