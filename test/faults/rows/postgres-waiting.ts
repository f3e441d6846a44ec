import { setTimeout as delay } from 'node:timers/promises'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures, Row, RowRun } from '../row.ts'

/** Milliseconds. A fast shutdown while nothing can be settled, and a checkpoint at any time: I10. */
const shutdown_ms = 5000
const checkpoint_ms = 5000

/** PostgreSQL while the broker keeps the bridge waiting. */
export const waitingRows: readonly Row[] = [
  {
    id: 'F22',
    title: 'fast restart of PostgreSQL, the broker blocked (memory alarm) and the window full',
    expect: 'D',
    runs: 2,
    run: (rig, run) =>
      restarts(rig, run, {
        stall: blockBroker,
        stalled: async (scene) => {
          await scene.bridge.until(({ sink, window }) => sink.blocked && isFull(window), 30_000, 'a full window')
        },
        heal: unblockBroker,
      }),
  },
  {
    id: 'F22',
    title: 'fast restart of PostgreSQL, the broker silent with a few events in flight',
    expect: 'R',
    runs: 2,
    run: (rig, run) =>
      restarts(rig, run, {
        async stall(scene) {
          scene.load.rate = 20
          await scene.recovers('the load is light', 15_000)
          scene.rabbit.proxy.blackhole()
        },
        stalled: async (scene) => {
          await scene.bridge.until(({ window }) => window.inFlight > 0 && !isFull(window), 30_000, 'events in flight')
        },
        async heal(scene) {
          scene.rabbit.proxy.heal()
          scene.load.rate = 400
        },
      }),
  },
  {
    id: 'F38',
    title: 'wal_sender_timeout of 2 s, the broker so slow that the window is full all the time',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, window: 100, env: { WAL2RABBIT_SOURCE_WAL_SENDER_TIMEOUT: '2s' } })
      await scene.start()
      const { bridge } = scene
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        const before = await bridge.status()
        scene.rabbit.proxy.bandwidth(40_000)
        await bridge.until(({ window }) => isFull(window), 30_000, 'a full window')
        await delay(12_000) // six times the timeout
        const after = await bridge.until(({ window }) => isFull(window), 5000, 'a window that is still full')
        scene.rabbit.proxy.heal()
        await scene.recovers(`the broker is quick again ${run}`, 20_000)
        const sessions = after.counters.reconnects.source - (before?.counters.reconnects.source ?? 0)
        scene.bound('I8', 'new sessions while the broker was slow', sessions, 0)
        const published = after.counters.published - (before?.counters.published ?? 0)
        scene.expect(published > 100, 'I8', `only ${published} events were sent meanwhile`)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F38',
    title: 'wal_sender_timeout of 2 s, the broker blocked for 45 s: the socket is let go, checkpoints are not held up',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, window: 100, env: { WAL2RABBIT_SOURCE_WAL_SENDER_TIMEOUT: '2s' } })
      await scene.start()
      const { bridge } = scene
      let longest = 0
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await blockBroker(scene)
        await bridge.until(({ window }) => isFull(window), 30_000, 'a full window')
        longest = Math.max(longest, await checkpointTime(scene))
        await bridge.until(({ reason }) => reason?.code === 'SOURCE_BACKPRESSURE', 45_000, 'a socket that is let go')
        await bridge.until(({ slot }) => slot.active !== true, 10_000, 'a free slot')
        longest = Math.max(longest, await checkpointTime(scene))
        await unblockBroker(scene)
        await scene.recovers(`the broker is unblocked ${run}`, 20_000)
        const { counters } = await bridge.until(({ state }) => state === 'streaming')
        scene.bound('I8', 'new sessions', counters.reconnects.source, run)
      }
      scene.bound('I10', 'checkpoint', longest, checkpoint_ms)
      return scene.finish({ runs, note: `checkpoint ${(longest / 1000).toFixed(1)} s` })
    },
  },
]

interface Stall {
  readonly stall: (scene: Scene) => Promise<void>
  readonly stalled: (scene: Scene) => Promise<void>
  readonly heal: (scene: Scene) => Promise<void>
}

async function restarts(rig: Rig, { seed, runs }: RowRun, { stall, stalled, heal }: Stall): Promise<Figures> {
  const scene = await rig.scene({ seed })
  await scene.start()
  const { service } = scene.postgres
  let longest = 0
  for (let run = 1; run <= runs; run++) {
    await scene.flow(300)
    await stall(scene)
    await stalled(scene)
    const begun = performance.now()
    await service.stop('fast')
    longest = Math.max(longest, performance.now() - begun)
    await service.start()
    await heal(scene)
    await scene.recovers(`PostgreSQL and the broker are back ${run}`, 20_000)
  }
  scene.bound('I10', 'fast shutdown', longest, shutdown_ms)
  return scene.finish({ runs, note: `shutdown ${(longest / 1000).toFixed(1)} s` })
}

export async function blockBroker({ rabbit }: Scene): Promise<void> {
  await rabbit.service.ctl('set_vm_memory_high_watermark', '0.00001')
}

export async function unblockBroker({ rabbit }: Scene): Promise<void> {
  await rabbit.service.ctl('set_vm_memory_high_watermark', '0.4')
}

export async function checkpointTime(scene: Scene): Promise<number> {
  const begun = performance.now()
  await scene.query('CHECKPOINT')
  return performance.now() - begun
}

export function isFull({ messages, limitMessages }: { readonly messages: number; readonly limitMessages: number }) {
  return messages >= limitMessages
}
