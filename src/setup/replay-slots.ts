import type { PostgresClient } from '../base/postgres-client.ts'
import { anchorTime } from '../replay/anchor-name.ts'
import type { ReplaySlot } from '../replay/reach.ts'
import { listSlots, type NamedSlot, slotInvalidation } from '../source/slot.ts'

/** The slots of a bridge as replays see them; facts of PostgreSQL beside what decides. */
export type KnownReplaySlot = NamedSlot & ReplaySlot

/** The live slot, if it is there, and its anchors, oldest position first. Errors are those of the client. */
export async function listReplaySlots(client: PostgresClient, slot: string): Promise<KnownReplaySlot[]> {
  const found = (await listSlots(client, slot)).filter(
    ({ name }) => name === slot || anchorTime(slot, name) !== undefined,
  )
  return found.map((one) => ({ ...one, invalidation: slotInvalidation(one) }))
}
