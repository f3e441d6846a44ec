import { setTimeout as delay } from 'node:timers/promises'
import type { Direction } from '../../support/tcp-proxy.ts'
import type { FaultId } from '../matrix.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import { type Figures, type Row, sumFigures } from '../row.ts'

type Side = 'postgres' | 'rabbit'

interface Link {
  readonly id: FaultId
  readonly side: Side
  readonly name: string
}

const toPostgres: Link = { id: 'F70', side: 'postgres', name: 'PostgreSQL' }
const toRabbit: Link = { id: 'F71', side: 'rabbit', name: 'RabbitMQ' }
const directions: readonly Direction[] = ['to-server', 'to-client']

export const linkRows: readonly Row[] = [toPostgres, toRabbit].flatMap((link) => [
  slowRow(link),
  slicedRow(link),
  resetRow(link),
  blackHoleRow(link),
])

/** Of what passes in both directions, each chunk arrives half a second later. */
function slowRow({ id, side, name }: Link): Row {
  return {
    id,
    title: `link to ${name} with 500 ms of latency each way`,
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      await scene.flow(200)
      const before = await scene.bridge.until(() => true)
      for (let run = 1; run <= runs; run++) {
        scene[side].proxy.latency(500)
        await delay(8000)
        scene[side].proxy.heal()
        await scene.recovers(`the link is fast again ${run}`, 10_000)
      }
      await boundReconnects(scene, before, 0)
      return scene.finish({ runs })
    },
  }
}

function slicedRow({ id, side, name }: Link): Row {
  return {
    id,
    title: `link to ${name} in slices of one byte`,
    expect: 'R',
    async run(rig, { seed, runs }) {
      // A write for each byte is slow, whoever makes it.
      const scene = await rig.scene({ seed, load: { rate: 40 } })
      await scene.start()
      await scene.flow(40)
      const before = await scene.bridge.until(() => true)
      for (let run = 1; run <= runs; run++) {
        scene[side].proxy.slice(1)
        await scene.flow(200)
        // So that the opening of connections is sliced too.
        scene[side].proxy.reset()
        await scene.recovers(`a connection made byte by byte ${run}`, 15_000)
        await scene.flow(100)
        scene[side].proxy.heal()
      }
      // PostgreSQL has two connections of a bridge, and either ends the session.
      await boundReconnects(scene, before, 2 * runs)
      return scene.finish({ runs })
    },
  }
}

function resetRow({ id, side, name }: Link): Row {
  return {
    id,
    title: `link to ${name} reset in the middle of a message`,
    expect: 'R',
    quick: side === 'rabbit',
    runs: 10,
    quickRuns: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { random } = scene
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        const direction = directions[run % 2] ?? 'to-client'
        // Confirms are few bytes.
        const bytes = random.between(1, direction === 'to-client' && side === 'rabbit' ? 300 : 20_000)
        const before = reconnects(await scene.bridge.until(() => true), side)
        scene[side].proxy.resetAfter(bytes, direction)
        await scene.bridge.until((status) => reconnects(status, side) > before, 20_000, `reset ${run}`)
        await scene.recovers(`reset ${run}`, 10_000)
      }
      return scene.finish({ runs })
    },
  }
}

/** Both directions at once, each with a bridge and proxies of its own: what counts is the waiting. */
function blackHoleRow({ id, side, name }: Link): Row {
  return {
    id,
    title: `link to ${name} black-holed for 90 s, one direction at a time (two bridges)`,
    expect: 'R',
    timeout: 400,
    async run(rig, { seed, runs }) {
      const played = directions.map((direction) => blackHole(rig, seed, runs, side, direction))
      return sumFigures(await Promise.all(played))
    },
  }
}

async function blackHole(rig: Rig, seed: number, runs: number, side: Side, direction: Direction): Promise<Figures> {
  const scene = await rig.scene({ seed, ownLinks: true, load: { rate: 100, writers: 2 } })
  const { bridge } = scene
  const link = bridge.links[side]
  await scene.start()
  for (let run = 1; run <= runs; run++) {
    await scene.flow(100)
    link.blackhole(direction)
    await delay(90_000)
    const { state } = await bridge.until(() => true)
    scene.expect(state === 'retrying', 'I8', `${state} with the ${side} link black-holed ${direction} for 90 s`)
    scene.expect(!(await bridge.ready()), 'I8', `ready with the ${side} link black-holed ${direction} for 90 s`)
    // What was held up arrives now, beside what was sent again meanwhile.
    if (side === 'rabbit') scene.mayRunStale(scene.parts.window)
    link.heal()
    await scene.recovers(`the black hole ${direction} is gone ${run}`, 30_000)
  }
  return scene.finish({ runs })
}

type Status = Awaited<ReturnType<Scene['bridge']['until']>>

function reconnects({ counters }: Status, side: Side): number {
  return side === 'rabbit' ? counters.reconnects.sink : counters.reconnects.source
}

/** Neither side was given up more often than `limit`. */
async function boundReconnects(scene: Scene, before: Status, limit: number): Promise<void> {
  const after = await scene.bridge.until(() => true)
  const sides: readonly Side[] = ['postgres', 'rabbit']
  const count = sides.reduce((sum, side) => sum + reconnects(after, side) - reconnects(before, side), 0)
  scene.bound('I8', 'reconnects', count, limit)
}
