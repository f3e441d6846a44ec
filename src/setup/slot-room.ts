import type { PostgresClient } from '../base/postgres-client.ts'

/** Of max_replication_slots, on the whole server. */
export interface SlotRoom {
  readonly free: number
  readonly taken: number
  readonly limit: number
}

/** `besides`: the name of a slot that is about to end, and does not count. Errors are those of the client. */
export async function lookForSlotRoom(client: PostgresClient, besides?: string): Promise<SlotRoom> {
  const { rows } = await client.query({
    text: `SELECT current_setting('max_replication_slots')::int AS allowed,
      (SELECT count(*)::int FROM pg_replication_slots WHERE slot_name IS DISTINCT FROM $1::text) AS taken`,
    values: [besides ?? null],
  })
  const { allowed, taken } = rows[0]!
  return { free: Math.max(0, Number(allowed) - Number(taken)), taken: Number(taken), limit: Number(allowed) }
}
