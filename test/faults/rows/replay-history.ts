import type { Lsn } from '../../../src/base/lsn.ts'
import { Replays } from '../rig/replays.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import { openTransaction } from './postgres-transactions.ts'

/** Milliseconds from its last start until a replay of about a thousand events is done. */
export const done_ms = 30_000
/** Events a second of a replay that is to last for a while. */
export const slowly = 500

export interface History {
  readonly scene: Scene
  readonly replays: Replays
  /** Of about so many events, with a large transaction in its middle, and some on each side of it. */
  readonly range: { readonly from: Lsn; readonly to: Lsn }
}

export type Env = NonNullable<Parameters<Rig['scene']>[0]['env']>

/** A scene with a bridge that streams, events to replay, and a light load beside what is to come. */
export async function beginHistory(rig: Rig, seed: number, events: number, env: Env = {}): Promise<History> {
  const scene = await rig.scene({ seed, env, load: { rate: 600 } })
  const replays = await Replays.open(scene, (cleanup) => rig.onCleanup(cleanup))
  await scene.start()
  await scene.flow(50)
  const from = await replays.stored()
  if (events > 0) {
    await scene.flow(events / 3)
    const { transaction, end } = await openTransaction(rig, scene, 'large')
    for (let left = Math.round(events / 3); left > 0; left -= 20) {
      await transaction.work(() => transaction.insert(Math.min(20, left)))
    }
    await transaction.commit()
    await end()
    await scene.flow((events * 2) / 3)
  }
  await scene.recovers('all of the history has arrived', 20_000)
  const to = await replays.stored()
  scene.load.rate = 150
  return { scene, replays, range: { from, to } }
}
