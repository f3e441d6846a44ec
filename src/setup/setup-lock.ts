import type { PostgresClient } from '../base/postgres-client.ts'

/** "w2r" and 2: the key of the advisory lock that one `init` or `rewind` of a database at a time holds. */
const setupLock = 0x7732_7202

/**
 * Waits until no other `init` or `rewind` is at work in this database, and holds the lock until the connection ends. A
 * command that was killed holds it until the server has ended its last statement, so what is looked at after this does not
 * change any more. Errors are those of the client.
 */
export async function takeSetupLock(client: PostgresClient): Promise<void> {
  await client.query({ text: 'SELECT pg_advisory_lock($1)', values: [setupLock] })
}
