import type { Command } from 'commander'
import type { CheckFinding } from '../setup/finding.ts'
import { brokerOptions } from './broker-options.ts'
import { type CliContext, colour, type ExitCode, exitCodes, printData, printJson } from './context.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'

interface CheckFlags extends ConfigFlags {
  readonly json?: boolean
}

export function addCheckCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('check')
    .description('look at everything that the bridge needs: every problem at once, each with its remedy')
    .option('--json', 'print the findings as a JSON array')
    .addHelpText(
      'after',
      `
Changes nothing and publishes nothing.

Exit codes: 0 no problem (warnings aside), 1 at least one, 2 usage or configuration.`,
    )
  addConfigOptions(command).action(async (flags: CheckFlags) => finish(await check(context, flags)))
}

async function check(context: CliContext, flags: CheckFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { runCheck } = await import('../setup/check.ts')
  const { slot, publication, plugin, table, columns, connectTimeout } = loaded.config.source
  const findings = await runCheck({
    url: await loaded.sourceUrl(),
    connectTimeout,
    slot,
    publication,
    plugin,
    table,
    columns,
    retention: loaded.config.outbox.retention,
    replayWindow: loaded.config.replay.window,
    broker: await brokerOptions(loaded),
  })
  if (flags.json === true) printJson(context, findings)
  else for (const finding of findings) printFinding(context, finding)
  return findings.some((finding) => !finding.ok && finding.severity === 'problem') ? exitCodes.failed : exitCodes.done
}

function printFinding(context: CliContext, { name, ok, severity, detail, remedy }: CheckFinding): void {
  const word = ok ? 'ok' : severity
  const shown = colour(
    context,
    context.stdout,
    ok ? 'green' : severity === 'problem' ? 'red' : 'yellow',
    word.padEnd(7),
  )
  printData(context, `${shown}  ${name}: ${detail}`)
  if (!ok && remedy !== null) printData(context, `         remedy: ${remedy}`)
}
