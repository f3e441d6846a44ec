import type { PostgresClient } from '../base/postgres-client.ts'
import type { ResumeSlot } from '../checkpoint/resume.ts'
import { inspectSlot, slotInvalidation } from '../source/slot.ts'

/** The slot as the start-up guards look at it, and who streams from it. */
export interface SlotForResume extends ResumeSlot {
  readonly active: boolean
  readonly activePid: number | null
}

/** Undefined when there is no slot of this name. Errors are those of the client. */
export async function inspectSlotForResume(client: PostgresClient, name: string): Promise<SlotForResume | undefined> {
  const slot = await inspectSlot(client, name)
  if (slot === undefined) return undefined
  return {
    name,
    plugin: slot.plugin ?? null,
    database: slot.database ?? null,
    invalidation: slotInvalidation(slot),
    confirmedFlush: slot.confirmedFlushLsn ?? null,
    active: slot.active,
    activePid: slot.activePid ?? null,
  }
}
