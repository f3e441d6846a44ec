import { BridgeError } from './errors.ts'

/**
 * Guards an invariant whose breach would lose data. Throws a BridgeError `ASSERTION_FAILED`, which halts the bridge.
 * Pass a function as the message where building it costs something on the hot path.
 */
export function assert(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new BridgeError('ASSERTION_FAILED', typeof message === 'string' ? message : message())
}
