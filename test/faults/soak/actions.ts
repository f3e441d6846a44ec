import type { SeededRandom } from '../../support/seeded-random.ts'
import type { Direction } from '../../support/tcp-proxy.ts'
import type { RigBridge } from '../rig/bridge.ts'
import type { Scene } from '../rig/scene.ts'

/** What a fault has to itself while it lasts; others go on beside it. */
export type Resource = 'postgres' | 'rabbit' | 'queue' | `bridge ${1 | 2}` | `${'postgres' | 'rabbit'} link ${1 | 2}`

export interface ActionTools {
  readonly scene: Scene
  readonly random: SeededRandom
  /** Waits so many milliseconds, or less when everything is to heal. */
  readonly hold: (low: number, high: number) => Promise<void>
}

/** One fault, from its making to its healing. */
export interface SoakAction {
  readonly name: string
  readonly needs: readonly Resource[]
  /** How often beside the others; 1 when absent. */
  readonly weight?: number
  run(tools: ActionTools): Promise<void>
}

const directions: readonly (Direction | undefined)[] = ['to-server', 'to-client', undefined]

function bridgeActions(n: 1 | 2): SoakAction[] {
  const needs: readonly Resource[] = [`bridge ${n}`]
  const bridgeOf = ({ bridges }: Scene): RigBridge => bridges[n - 1]!
  return [
    {
      name: `bridge ${n} killed`,
      needs,
      weight: 3,
      async run({ scene, hold }) {
        await bridgeOf(scene).kill()
        await hold(0, 3000)
        bridgeOf(scene).start()
      },
    },
    {
      name: `bridge ${n} stopped by SIGTERM`,
      needs,
      async run({ scene, hold }) {
        await bridgeOf(scene).stop()
        await hold(0, 2000)
        bridgeOf(scene).start()
      },
    },
    {
      name: `bridge ${n} paused by SIGSTOP`,
      needs,
      async run({ scene, hold }) {
        bridgeOf(scene).pause()
        await hold(500, 15_000)
        bridgeOf(scene).resume()
      },
    },
  ]
}

function linkActions(side: 'postgres' | 'rabbit', n: 1 | 2): SoakAction[] {
  const needs: readonly Resource[] = [`${side} link ${n}`]
  const linkOf = ({ bridges }: Scene) => bridges[n - 1]!.links[side]
  const of = `link of bridge ${n} to ${side}`
  return [
    {
      name: `${of} reset`,
      needs,
      run: async ({ scene }) => linkOf(scene).reset(),
    },
    {
      name: `${of} reset in the middle of a message`,
      needs,
      run: async ({ scene, random }) =>
        linkOf(scene).resetAfter(random.between(1, 5000), random.chance(0.5) ? 'to-server' : 'to-client'),
    },
    {
      name: `${of} slow`,
      needs,
      async run({ scene, random, hold }) {
        linkOf(scene).latency(random.between(10, 500))
        await hold(1000, 8000)
        linkOf(scene).heal()
      },
    },
    {
      name: `${of} in slices`,
      needs,
      async run({ scene, random, hold }) {
        linkOf(scene).slice(random.between(1, 20))
        await hold(1000, 5000)
        linkOf(scene).heal()
      },
    },
    {
      name: `${of} narrow`,
      needs,
      async run({ scene, random, hold }) {
        linkOf(scene).bandwidth(random.between(5000, 100_000))
        await hold(1000, 8000)
        linkOf(scene).heal()
      },
    },
    {
      name: `${of} black-holed`,
      needs,
      async run({ scene, random, hold }) {
        linkOf(scene).blackhole(directions[random.between(0, 2)])
        // What waits in there arrives when another bridge may have gone on.
        if (side === 'rabbit') scene.mayRunStale(scene.parts.window)
        await hold(500, 20_000)
        linkOf(scene).heal()
      },
    },
    {
      name: `${of} refused`,
      needs,
      async run({ scene, hold }) {
        await linkOf(scene).refuse(true)
        linkOf(scene).reset()
        await hold(500, 5000)
        await linkOf(scene).refuse(false)
      },
    },
  ]
}

/** Both bridges and their links. */
export const nearActions: readonly SoakAction[] = ([1, 2] as const).flatMap((n) => [
  ...bridgeActions(n),
  ...linkActions('postgres', n),
  ...linkActions('rabbit', n),
])
