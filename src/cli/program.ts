import { Command } from 'commander'
import { version } from '../base/version.ts'
import { addCheckCommand } from './check.ts'
import { addCheckpointsCommand } from './checkpoints.ts'
import { type CliContext, type ExitCode, exitCodes } from './context.ts'
import { addDeadLettersCommand } from './dead-letters.ts'
import { reportFailure } from './failure.ts'
import { addInitCommand } from './init.ts'
import { addReplayCommand } from './replay.ts'
import { addRetentionCommand } from './retention.ts'
import { addRewindCommand } from './rewind.ts'
import { addRunCommand } from './run.ts'
import { addStatusCommand } from './status.ts'

/** Adds a command to the program; `finish` takes its exit code. */
export type AddCommand = (program: Command, context: CliContext, finish: (code: ExitCode) => void) => void

const commands: readonly AddCommand[] = [
  addInitCommand,
  addCheckCommand,
  addRunCommand,
  addStatusCommand,
  addCheckpointsCommand,
  addReplayCommand,
  addRewindCommand,
  addDeadLettersCommand,
  addRetentionCommand,
]

/** Runs one command line, such as `['run', '--slot', 'orders']`; gives the exit code, never rejects. */
export async function runProgram(args: readonly string[], context: CliContext): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.done
  const program = new Command('wal2rabbit')
    .description('Forwards committed outbox rows of PostgreSQL to RabbitMQ, in commit order.')
    .version(version, '-V, --version')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      // Said once by reportFailure, with a remedy and without secrets.
      outputError: () => {},
    })
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 usage or configuration, 3 halted (an operator must act).')
  for (const addCommand of commands) {
    addCommand(program, context, (code) => {
      exitCode = code
    })
  }
  for (const command of program.commands) command.copyInheritedSettings(program)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    return reportFailure(error, context)
  }
}
