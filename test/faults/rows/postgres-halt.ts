import { setTimeout as delay } from 'node:timers/promises'
import { type ErrorCode, errorTable } from '../../../src/base/errors.ts'
import type { Scene } from '../rig/scene.ts'
import { type Figures, type RowRun, sumFigures } from '../row.ts'

/** I9 in full: it halts and stays halted, with the remedy of the table, ends with 3, and holds what its position covers (I5). */
export async function staysHalted(scene: Scene, code: ErrorCode, bound = 30_000): Promise<void> {
  const { bridge } = scene
  await scene.halts(code, bound)
  const remedy = (await bridge.status())?.reason?.remedy
  scene.expect(remedy === errorTable[code].remedy, 'I9', `the remedy is ${remedy}`)
  const exitCode = await bridge.stop()
  scene.expect(exitCode === 3, 'I9', `halted with ${code}, it ended with ${exitCode} instead of 3`)
  await scene.checkHeld(`the halt with ${code}`)
}

/** For faults that a scene survives only once: a new scene each time. */
export async function eachRun({ seed, runs }: RowRun, play: (seed: number) => Promise<Figures>): Promise<Figures> {
  const parts: Figures[] = []
  for (let run = 0; run < runs; run++) parts.push(await play(seed + run))
  return sumFigures(parts)
}

/** Pauses the load; resolves when no writer has anything open. */
export async function writersRest(scene: Scene): Promise<void> {
  scene.load.pause()
  const deadline = Date.now() + 30_000
  for (let quiet = 0; quiet < 3; await delay(50)) {
    const [row] = await scene.query(
      `SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rig_writer' AND state <> 'idle')
         + (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) AS open`,
    )
    quiet = Number(row?.open) === 0 ? quiet + 1 : 0
    if (Date.now() > deadline) throw new Error(`the writers did not come to rest: ${row?.open} transactions are open`)
  }
}

/** And all that committed has arrived. */
export async function comesToRest(scene: Scene): Promise<void> {
  await writersRest(scene)
  if (!(await scene.parts.arrivals.untilCaughtUp(60_000))) {
    throw new Error(`what committed did not arrive\n${scene.logsEnd()}`)
  }
}

/** Polls, for what no signal tells. Rejects after `bound` ms. */
export async function until(what: string, bound: number, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + bound
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${bound} ms`)
    await delay(50)
  }
}

/** Resolves when so many more events committed. */
export async function committed(scene: Scene, events: number): Promise<void> {
  const { ledger } = scene.load
  const target = ledger.committed.size + events
  await until(`${events} more commits`, 30_000, async () => ledger.committed.size >= target)
}
