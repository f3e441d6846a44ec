import type { PostgresClient } from '../base/postgres-client.ts'
import { attempt, type ControlOptions, connectControl, endControl } from './connect.ts'
import { requireSchema } from './migrate.ts'

/**
 * The control connection of a session: only with the bookkeeping schema that this program knows, which may have changed
 * since the last session. Rejects with a BridgeError: SCHEMA_MISSING, _OLDER, _NEWER, _CHANGED, or of the connection.
 */
export async function connectCheckpoint(options: ControlOptions): Promise<PostgresClient & { close(): Promise<void> }> {
  const client = await connectControl(options)
  try {
    await attempt('reading the version of the schema', () => requireSchema(client))
  } catch (error) {
    await endControl(client)
    throw error
  }
  // One at a time: the driver will no longer queue statements itself.
  let last: Promise<unknown> = Promise.resolve()
  const query: PostgresClient['query'] = (statement) => {
    const next = last.then(() => client.query({ ...statement }))
    last = next.catch(() => undefined) // whoever asked has the rejection; the next statement goes ahead
    return next
  }
  return { query, close: () => endControl(client) }
}
