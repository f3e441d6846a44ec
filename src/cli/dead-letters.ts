import type { Command } from 'commander'
import type { CliContext, ExitCode } from './context.ts'
import { addSelectionOptions, type SelectionFlags } from './dead-letters-options.ts'
import { parseLimit } from './limit.ts'
import { addConfigOptions, type ConfigFlags } from './options.ts'

/** Each command loads its work when it runs: the others start without it. */
export function addDeadLettersCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const group = program
    .command('dead-letters')
    .description('events that could not be delivered: list, show, retry, discard')
    .addHelpText('after', '\nEach command says more with --help. Works with and without a running bridge.')

  addSelectionOptions(
    group
      .command('list')
      .description('list them by position, newest last')
      .option('--limit <count>', 'how many to list, the newest', parseLimit, 100),
  ).action(async (flags: SelectionFlags & { limit: number }) => {
    const { listCommand } = await import('./dead-letters-list.ts')
    finish(await listCommand(context, flags))
  })

  addConfigOptions(
    group
      .command('show')
      .description('print events whole: reason, properties, row columns, body')
      .argument('<event-id...>')
      .option('--json', 'print a JSON array; bodies in base64'),
  ).action(async (eventIds: string[], flags: ConfigFlags & { json?: boolean }) => {
    const { showCommand } = await import('./dead-letters-show.ts')
    finish(await showCommand(context, eventIds, flags))
  })

  addSelectionOptions(
    group
      .command('retry')
      .description('publish them again, by position; each is removed once the broker has confirmed it')
      .argument('[event-id...]')
      .option('--all', 'all of them')
      .addHelpText(
        'after',
        `
Events parked behind a dead letter (deadLetter.scope: aggregate) follow it, in order. What fails again is kept, with its
count of attempts. SIGINT stops after the batch; a crash may send some twice, and loses none.

Exit codes: 0 all delivered, 1 some not, 2 usage or configuration, 3 an operator must act.`,
      ),
  ).action(async (eventIds: string[], flags: SelectionFlags) => {
    const { retryCommand } = await import('./dead-letters-retry.ts')
    finish(await retryCommand(context, eventIds, flags))
  })

  addSelectionOptions(
    group
      .command('discard')
      .description('give them up; a line of the audit stays (wal2rabbit.dead_letter_audit)')
      .argument('[event-id...]')
      .option('--all', 'all of them')
      .option('--yes', 'needed for more than one, and where there is no terminal')
      .addHelpText(
        'after',
        `
Events parked behind a discarded one (deadLetter.scope: aggregate) that are not discarded themselves are delivered, in
order. Those that are not, as the command was stopped or failed, are named with the command that delivers them.

Exit codes: 0 done, 1 some not, 2 usage or configuration, 3 an operator must act.`,
      ),
  ).action(async (eventIds: string[], flags: SelectionFlags & { yes?: boolean }) => {
    const { discardCommand } = await import('./dead-letters-retry.ts')
    finish(await discardCommand(context, eventIds, flags))
  })
}
