import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../../../src/base/errors.ts'
import type { Lsn } from '../../../src/base/lsn.ts'
import { checkHalted } from '../checkers/halted.ts'
import type { RigBridge } from './bridge.ts'
import type { Scene } from './scene.ts'

/** Milliseconds: long enough for several stores and status replies, if there were any. */
const watchedFor = 2000

/** See Scene.halts. */
export async function checkHalt(scene: Scene, bridge: RigBridge, expected: ErrorCode, bound: number): Promise<void> {
  const { violations } = scene.notes
  await bridge
    .until(({ state, reason }) => state === 'halted' && reason?.code === expected, bound, `halted with ${expected}`)
    .catch((error: unknown) => void violations.push({ invariant: 'I9', what: String(error), count: 1 }))
  const acknowledgedBefore = await acknowledgedAtLast(scene)
  await delay(watchedFor)
  const [status, page, acknowledgedAfter] = await Promise.all([
    bridge.status(),
    bridge.page('/readyz'),
    scene.acknowledged(),
  ])
  violations.push(
    ...checkHalted({
      expected,
      state: status?.state ?? 'unknown',
      code: status?.reason?.code,
      remedy: status?.reason?.remedy,
      readiness: page?.status ?? 0,
      acknowledgedBefore,
      acknowledgedAfter,
    }),
  )
}

/** Where the session goes on, what had settled before a halt is stored and acknowledged a moment after it. */
async function acknowledgedAtLast(scene: Scene): Promise<Lsn | undefined> {
  let last = await scene.acknowledged()
  for (let look = 0; look < 10; look++) {
    await delay(300)
    const now = await scene.acknowledged()
    if (now === last) break
    last = now
  }
  return last
}
