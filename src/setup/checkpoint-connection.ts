import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { readServerFacts } from '../checkpoint/server-facts.ts'
import { type Purpose, requireGrants } from './check-grants.ts'
import { attempt, type ControlOptions, connectControl, endControl } from './connect.ts'
import { requireSchema } from './migrate.ts'

export interface CheckpointConnectionOptions extends ControlOptions {
  /** Of the cluster that this process has streamed from before; undefined at first. */
  readonly systemIdentifier?: string | undefined
  /** Which grants are needed; default those of the bridge. */
  readonly purpose?: Purpose
}

/**
 * The control connection of a session: only to the cluster that was streamed from before, with the bookkeeping schema
 * that this program knows, which may have changed since the last session, and with every grant on it: else one that an
 * upgrade needs would be missed with the first dead letter only. Rejects with a BridgeError: SYSTEM_CHANGED,
 * SOURCE_PERMISSION_DENIED, SCHEMA_MISSING, _OLDER, _NEWER, _CHANGED, or of the connection.
 */
export async function connectCheckpoint(
  options: CheckpointConnectionOptions,
): Promise<PostgresClient & { close(): Promise<void> }> {
  const client = await connectControl(options)
  try {
    if (options.systemIdentifier !== undefined) await requireSystem(client, options.systemIdentifier)
    await attempt('looking at the grants', () => requireGrants(client, options.purpose ?? 'run'))
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

/** Before anything else: another cluster behind the same address may lack the schema, or have one of its own. */
async function requireSystem(client: PostgresClient, expected: string): Promise<void> {
  const { systemIdentifier } = await attempt('reading the state of the server', () => readServerFacts(client))
  if (systemIdentifier === expected) return
  throw new BridgeError(
    'SYSTEM_CHANGED',
    `this process streamed from the cluster with system identifier ${expected}, but the server has ${systemIdentifier}`,
  )
}
