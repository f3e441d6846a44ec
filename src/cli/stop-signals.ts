import { type CliContext, exitCodes, printNote } from './context.ts'

export interface StopSignals {
  readonly asked: () => boolean
  readonly dispose: () => void
}

/**
 * The first SIGINT or SIGTERM is said and told to `onAsked`, so that what is under way is finished; a second one ends the
 * process: rows stay as they are, and `onAbort` has the last word.
 */
export function stopOnSignals(
  context: CliContext,
  onAbort: () => void,
  {
    text = 'stopping after this batch',
    onAsked = () => {},
  }: { text?: string | (() => string); onAsked?: () => void } = {},
): StopSignals {
  let asked = false
  const onSignal = () => {
    if (asked) {
      onAbort()
      process.exit(exitCodes.failed)
    }
    asked = true
    printNote(context, `\n${typeof text === 'string' ? text : text()}`)
    onAsked()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal)
  return {
    asked: () => asked,
    dispose: () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
    },
  }
}
