import { backoffDelay } from './backoff.ts'
import { type BridgeError, toBridgeError } from './errors.ts'

const retry = { initialDelay: 200, maxDelay: 5000 }

/** Repeats `work` with back-off while it fails for what passes by itself, at most for `patience` milliseconds. Rejects with a BridgeError. */
export async function patiently<T>(
  work: () => Promise<T>,
  patience: number,
  passes: (error: BridgeError) => boolean = ({ action }) => action === 'retry',
): Promise<T> {
  const deadline = performance.now() + patience
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (thrown) {
      const error = toBridgeError(thrown)
      if (!passes(error) || performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, backoffDelay(retry, attempt)))
    }
  }
}
