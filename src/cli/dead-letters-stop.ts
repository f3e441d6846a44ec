import { type CliContext, exitCodes, printNote } from './context.ts'

export interface StopSignals {
  readonly asked: () => boolean
  readonly dispose: () => void
}

/**
 * The first SIGINT or SIGTERM lets the batch be finished, a second one ends the process: rows stay as they are, and
 * `onAbort` has the last word.
 */
export function stopOnSignals(context: CliContext, onAbort: () => void): StopSignals {
  let asked = false
  const onSignal = () => {
    if (asked) {
      onAbort()
      process.exit(exitCodes.failed)
    }
    asked = true
    printNote(context, '\nstopping after this batch')
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal)
  return {
    asked: () => asked,
    dispose: () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    },
  }
}
