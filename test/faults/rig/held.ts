import { checkStoredIsSettled, notHeld } from '../checkers/stored-is-settled.ts'
import { readDeadLetters, readStored } from './bookkeeping.ts'
import type { Scene } from './scene.ts'

/** See Scene.checkHeld. */
export async function checkHeld({ parts, bridges, notes }: Scene, when: string): Promise<void> {
  const { witness, arrivals, database, name, load } = parts
  if (bridges.some(({ isRunning }) => isRunning)) throw new Error(`${when}: a bridge runs still`)
  const { stored, acknowledged: told = 0n } = await readStored(database.query, name)
  if (witness === undefined || stored === undefined) return
  await witness.read()
  const { rows: witnessed } = witness
  const dead = await readDeadLetters(database.query, name)
  const isHeld = (id: string) => dead.has(id) || arrivals.hasArrived(id, load.ledger.find(id)?.aggregate)
  // Once the row itself has moved the slot, its position says nothing about the bridge.
  const acknowledged = notes.slotMovedAt > Date.now() ? told : 0n
  const missing = [stored, { lsn: acknowledged, partial: null }].flatMap((position) =>
    notHeld({ stored: position, witnessed, isHeld }),
  )
  // What the broker has confirmed is on its way to the consumer.
  await arrivals.until(() => missing.every(isHeld), 20_000)
  notes.violations.push(...checkStoredIsSettled({ when, stored, acknowledged, witnessed, isHeld }))
}
