import type { ClientConfig } from 'pg'
import { BridgeError } from '../base/errors.ts'
import { clientConfigFromUrl } from '../base/postgres-url.ts'

/**
 * The driver's configuration for the replication connection of a session. At the start of the process a certificate that
 * cannot be read is a mistake in the configuration; later it may be about to be renewed, so that is SOURCE_TLS_FAILED,
 * which is looked at again.
 */
export function sessionConnection(url: string, connectTimeout: number): ClientConfig {
  try {
    return { connectionTimeoutMillis: connectTimeout, ...clientConfigFromUrl(url) }
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error
    throw new BridgeError('SOURCE_TLS_FAILED', error.message, { cause: error })
  }
}
