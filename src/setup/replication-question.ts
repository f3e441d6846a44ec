import { Socket } from 'node:net'
import pg from 'pg'
import { clientConfigFromUrl } from '../base/postgres-url.ts'
import { toSourceError } from '../source/failure.ts'

/** Milliseconds for connecting, and for the whole question. */
const connectTimeout = 10_000
const questionTimeout = 20_000

/**
 * One command on a replication connection that is made for it and closed again. Returns the first row, as text. Rejects
 * with a BridgeError.
 */
export async function askReplication(url: string, command: string, doing: string): Promise<Record<string, unknown>> {
  const socket = new Socket()
  const config = { connectionTimeoutMillis: connectTimeout, ...clientConfigFromUrl(url), replication: 'database' }
  const client = new pg.Client({ ...config, stream: () => socket })
  client.on('error', () => undefined) // whatever is under way is rejected with the same error
  const deadline = setTimeout(() => socket.destroy(), questionTimeout)
  try {
    await client.connect()
    // Up to version 14 a history comes under the type bytea, but as plain text: no parser may touch it.
    const { rows } = await client.query({ text: command, types: { getTypeParser: () => String } })
    return rows[0]
  } catch (error) {
    throw toSourceError(error, { doing })
  } finally {
    clearTimeout(deadline)
    socket.destroy()
  }
}
