import type { Command } from 'commander'
import { createLogger, type Logger } from '../base/log.ts'
import { type CliContext, type ExitCode, exitCodes } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'

export function addRunCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('run')
    .description('run the bridge until SIGTERM or SIGINT, then drain')
    .addHelpText(
      'after',
      `
Logs to standard error. The first SIGTERM or SIGINT stops reading and waits for outstanding confirms (shutdown.timeout);
a second one ends the process at once. Outages are waited out; what an operator must decide halts the bridge, which then
stays up, publishes nothing and says why at /readyz and in "wal2rabbit status".

Exit codes: 0 drained, 1 not drained in time, 2 usage or configuration, 3 stopped while halted.`,
    )
  addConfigOptions(command).action(async (flags: ConfigFlags) => finish(await run(context, flags)))
}

async function run(context: CliContext, flags: ConfigFlags): Promise<ExitCode> {
  // What the window holds lives for a tenth of a second; V8 would keep young and old space for it that it does not need,
  // all the more on a busy machine.
  context.tune({ smallHeap: true, givesWay: false })
  const loaded = await loadFor(context, flags)
  const { level, format } = loaded.config.log
  const log = createLogger({ level, format, scrub: loaded.scrub, destination: context.stderr })
  context.log = log
  let stop = (): void => {}
  const stopAsked = stopOnSignals(log, () => stop())
  const { startBridge } = await import('../compose.ts')
  const bridge = await startBridge(loaded, log)
  log.info({ slot: loaded.config.source.slot, admin: bridge.adminAddress }, 'wal2rabbit runs')
  stop = () => bridge.stop()
  // A signal that came while the bridge was being started.
  if (stopAsked()) bridge.stop()
  const { drained, halted } = await bridge.run()
  log.info({ drained, halted }, 'wal2rabbit stopped')
  if (halted) return exitCodes.halted
  return drained ? exitCodes.done : exitCodes.failed
}

/** Calls `stop` at the first signal and ends the process at the second; tells whether one came. */
function stopOnSignals(log: Logger, stop: () => void): () => boolean {
  let asked = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (asked) {
        log.warn({ signal }, 'second signal: stopping at once, unconfirmed events are sent again at the next start')
        process.exit(exitCodes.failed)
      }
      asked = true
      log.info({ signal }, 'stopping: waiting for outstanding confirms')
      stop()
    })
  }
  return () => asked
}
