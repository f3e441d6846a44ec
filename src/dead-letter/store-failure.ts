import { BridgeError } from '../base/errors.ts'

/** 08 connection, 40 rolled back, 57P shutting down, 25006 read-only: PostgreSQL is away or busy, and comes back. */
const passing = /^(08...|40...|57P..|25006)$/

/**
 * Why dead letters could not be written. Trouble with the connection keeps its own code and is tried again; what the
 * server itself refused (a permission, a full disk, a lock that somebody holds) becomes DEAD_LETTER_STORE_FAILED.
 */
export function storeFailure(
  error: unknown,
  doing: string,
  toError: (error: unknown, doing: string) => BridgeError,
): BridgeError {
  const known = toError(error, doing)
  if (error instanceof BridgeError) return known
  const state = sqlState(error)
  if (state === undefined ? known.action === 'retry' : passing.test(state)) return known
  return new BridgeError('DEAD_LETTER_STORE_FAILED', known.message, { cause: error })
}

export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  return /^[0-9A-Z]{5}$/.test(error.code) && !/^E[A-Z]{4}$/.test(error.code) ? error.code : undefined
}
