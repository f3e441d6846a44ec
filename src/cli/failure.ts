import { CommanderError } from 'commander'
import { BridgeError, toBridgeError } from '../base/errors.ts'
import { causeMessages } from '../base/log.ts'
import { type CliContext, colour, type ExitCode, exitCodes, printNote } from './context.ts'

/** The exit code that an error ends a command with. */
export function exitCodeOf(error: BridgeError): ExitCode {
  switch (error.action) {
    case 'usage':
      return exitCodes.usage
    case 'halt':
    case 'halt-retry':
      return exitCodes.halted
    default:
      return exitCodes.failed
  }
}

/**
 * Says what ended a command, and how to mend it, on standard error; gives the exit code. Never a stack trace, never a
 * secret. A log that is there gets the error instead, so that a service's output stays one format.
 */
export function reportFailure(thrown: unknown, context: CliContext): ExitCode {
  const error = thrown instanceof CommanderError ? usageError(thrown) : toBridgeError(thrown)
  if (error === undefined) return exitCodes.done
  if (context.log !== undefined) {
    context.log.fatal({ err: error }, `stopped: ${error.code}`)
    return exitCodeOf(error)
  }
  const [nearestCause] = causeMessages(error)
  const cause = nearestCause === undefined || error.message.includes(nearestCause) ? '' : ` (${nearestCause})`
  printNote(context, `${colour(context, context.stderr, 'red', `error ${error.code}:`)} ${error.message}${cause}`)
  printNote(context, `${colour(context, context.stderr, 'bold', 'remedy:')} ${error.remedy}`)
  return exitCodeOf(error)
}

/** What commander throws: help and version are no errors, all else is a wrong command line. */
function usageError(thrown: CommanderError): BridgeError | undefined {
  if (thrown.exitCode === 0) return undefined
  // Called without a command: commander has printed the help already.
  if (thrown.code === 'commander.help') return new BridgeError('USAGE', 'no command given')
  const text = thrown.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')
  // A flag that is not known may hold anything after its "=": only its name is repeated.
  return new BridgeError('USAGE', text.replace(/'(--?[^'=]+)=.*'/s, "'$1'"))
}
