#!/usr/bin/env node
import { exitCodes, processContext } from './context.ts'
import { reportFailure } from './failure.ts'
import { runProgram } from './program.ts'

const context = processContext()

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    // Whatever it was, nobody expected it: the state of the process is unknown, so it ends.
    reportFailure(error, context)
    process.exit(exitCodes.failed)
  })
}

// A reader that went away, as with `wal2rabbit checkpoints | head`, is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.done : exitCodes.failed)
})

const exitCode = await runProgram(process.argv.slice(2), context)
// Ends the process even where a library still holds a socket; what was printed goes out first.
process.stdout.write('', () => process.exit(exitCode))
