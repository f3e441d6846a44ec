import { setTimeout as delay } from 'node:timers/promises'
import { parseLsn } from '../../../src/base/lsn.ts'
import { runCommand } from '../../support/bridge-process.ts'
import { readDeadLetters } from '../rig/bookkeeping.ts'
import type { Scene } from '../rig/scene.ts'
import type { SceneOptions } from '../rig/scene-options.ts'
import type { Figures } from '../row.ts'

/** What cannot be delivered is parked by aggregate, so that a retry can keep the order. */
export const parked: Pick<SceneOptions, 'order' | 'env'> = {
  order: 'aggregate',
  env: {
    WAL2RABBIT_DELIVERY_RETRY_ATTEMPTS: '2',
    WAL2RABBIT_DELIVERY_RETRY_INITIAL_DELAY: '20ms',
    WAL2RABBIT_DELIVERY_RETRY_MAX_DELAY: '500ms',
    WAL2RABBIT_DEAD_LETTER_SCOPE: 'aggregate',
  },
}

/** Ids of the events that are dead letters at present, with what the table says of why. */
export async function deadLetters(scene: Scene): Promise<{ id: string; code: string; text: string }[]> {
  const sql = 'SELECT event_id, reason_code, reason_text FROM wal2rabbit.dead_letter WHERE slot = $1'
  const rows = await scene.query(sql, [scene.slot])
  return rows.map((row) => ({ id: String(row.event_id), code: String(row.reason_code), text: String(row.reason_text) }))
}

/** As scene.recovers(), where some of the events do not arrive because they are dead letters. */
export async function recoversBut(scene: Scene, what: string, bound: number): Promise<number> {
  const { arrivals, database, name } = scene.parts
  const over = new AbortController()
  const excusing = (async () => {
    while (!over.signal.aborted) {
      arrivals.excuse(await readDeadLetters(database.query, name).catch(() => []))
      await delay(200)
    }
  })()
  try {
    return await scene.recovers(what, bound)
  } finally {
    over.abort()
    await excusing
  }
}

/**
 * `dead-letters retry --all` until none is left: the bridge may add some while the command works. What it delivers must
 * arrive: it has left the table. Violation of I8 when some are left after `patience` ms.
 */
export async function retryAll(scene: Scene, patience = 60_000): Promise<void> {
  const deadline = Date.now() + patience
  let said = ''
  while ((await deadLetters(scene)).length > 0 && Date.now() < deadline) {
    const { code, stdout, stderr } = await runCommand(['dead-letters', 'retry', '--all'], scene.bridge.env)
    said = `${code}: ${stdout}${stderr}`
  }
  const left = await deadLetters(scene)
  scene.expect(
    left.length === 0,
    'I8',
    `${left.length} dead letters are left after retry --all, which ended with ${said}`,
  )
}

/** Stops writing and waits until all that has committed is settled and stored. */
export async function quiet(scene: Scene, timeout = 60_000): Promise<void> {
  await scene.load.stop()
  await scene.parts.witness?.read()
  const last = scene.parts.witness?.rows.at(-1)?.commitLsn ?? 0n
  const isStored = (text: string | null) => text !== null && parseLsn(text) > last
  await scene.bridge.until(({ positions }) => isStored(positions.stored), timeout, 'everything stored')
}

/** Retries all dead letters, checks, and says how many there were. */
export async function finishAfterRetry(scene: Scene, runs: number): Promise<Figures> {
  const kept = (await deadLetters(scene)).length
  // While events flow: what the bridge parks meanwhile must not be overtaken.
  await retryAll(scene)
  await quiet(scene)
  await retryAll(scene)
  return scene.finish({ runs, note: `${kept} dead letters, all delivered by retry` })
}
