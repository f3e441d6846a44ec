import type { PostgresClient } from './postgres-client.ts'

/** Commits what `work` did, or nothing of it. Errors are those of the client and of `work`. */
export async function inTransaction<T>(client: PostgresClient, work: () => Promise<T>): Promise<T> {
  await client.query({ text: 'BEGIN' })
  try {
    const result = await work()
    await client.query({ text: 'COMMIT' })
    return result
  } catch (error) {
    // The connection may be gone; the first error counts.
    await client.query({ text: 'ROLLBACK' }).catch(() => undefined)
    throw error
  }
}
