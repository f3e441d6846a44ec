import type { Client } from 'pg'
import type { LoadedConfig } from '../config/load.ts'
import { withControl } from '../setup/connect.ts'
import { requireSchema } from '../setup/migrate.ts'

/** Long enough for a batch of large bodies on a slow disk; milliseconds. */
const statementTimeout = 60_000

/**
 * Runs `work` on a connection to the database of the slot. Its transactions last as long as the broker takes for a batch,
 * so a server that ends idle ones is told not to. Rejects with a BridgeError, SCHEMA_OLDER where `init` has not run.
 */
export async function withDeadLetters<T>(
  loaded: LoadedConfig,
  doing: string,
  work: (client: Client, slot: string) => Promise<T>,
): Promise<T> {
  const { slot, connectTimeout } = loaded.config.source
  const options = { url: await loaded.sourceUrl(), connectTimeout, applicationName: 'wal2rabbit dead-letters' }
  return withControl({ ...options, statementTimeout }, doing, async (client) => {
    await requireSchema(client)
    await client.query({ text: 'SET idle_in_transaction_session_timeout = 0' })
    return work(client, slot)
  })
}
