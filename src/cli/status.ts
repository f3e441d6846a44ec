import type { Command } from 'commander'
import { type CliContext, colour, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { reportFailure } from './failure.ts'
import { addConfigOptions, type ConfigFlags, loadFor } from './options.ts'
import { formatFacts } from './table.ts'

interface StatusFlags extends ConfigFlags {
  readonly json?: boolean
}

/** The part of /api/status that this command itself looks at; the rest is printed as it comes. */
interface LiveStatus {
  readonly state: string
  readonly [name: string]: unknown
}

/** Milliseconds; the bridge answers from memory. */
const answerTimeout = 3000

export function addStatusCommand(program: Command, context: CliContext, finish: (code: ExitCode) => void): void {
  const command = program
    .command('status')
    .description('state, positions, lag and slot health')
    .option('--json', 'print the JSON of /api/status')
    .addHelpText(
      'after',
      `
Asks the running bridge at admin.host and admin.port. When none answers, the checkpoint and the slot are read from
PostgreSQL instead, and "state" is null.

Exit codes: 0 a bridge runs, 1 none answers, 3 it is halted.`,
    )
  addConfigOptions(command).action(async (flags: StatusFlags) => finish(await status(context, flags)))
}

async function status(context: CliContext, flags: StatusFlags): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const { admin, source } = loaded.config
  const url = statusUrl(admin.host, admin.port)
  const live = await askBridge(url)
  if (typeof live !== 'string') {
    if (flags.json === true) printJson(context, live)
    else printFacts(context, live)
    return live.state === 'halted' ? exitCodes.halted : exitCodes.done
  }
  printNote(context, `no bridge answers at ${url} (${live}): reading what is stored in PostgreSQL`)
  try {
    const { readStoredStatus } = await import('../setup/stored-status.ts')
    const { slot, connectTimeout } = source
    const stored = await readStoredStatus({ url: await loaded.sourceUrl(), connectTimeout, slot })
    const facts = { state: null, ...stored }
    if (flags.json === true) printJson(context, facts)
    else printFacts(context, facts)
  } catch (error) {
    // Whatever keeps it from being read, the answer to "does a bridge run?" stays no: 3 would mean a halted one.
    reportFailure(error, context)
  }
  return exitCodes.failed
}

/** Where the admin server is reached from this machine: an address that means "all interfaces" is none to call. */
export function statusUrl(host: string, port: number): string {
  const callable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' || host === '[::]' ? '::1' : host
  const bracketed = callable.includes(':') && !callable.startsWith('[') ? `[${callable}]` : callable
  return `http://${bracketed}:${port}/api/status`
}

/** The status of the bridge, or why there is none. */
async function askBridge(url: string): Promise<LiveStatus | string> {
  let body: unknown
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(answerTimeout), redirect: 'error' })
    if (!response.ok) return `HTTP ${response.status}`
    body = await response.json()
  } catch (error) {
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined
    return cause?.code ?? (error instanceof Error ? error.name : String(error))
  }
  return isLiveStatus(body) ? body : 'something else answers there'
}

function isLiveStatus(body: unknown): body is LiveStatus {
  return typeof body === 'object' && body !== null && typeof (body as { state?: unknown }).state === 'string'
}

function printFacts(context: CliContext, facts: object): void {
  const text = formatFacts(facts)
  const name = /^state +(streaming|standby)$/m.test(text) ? 'green' : 'red'
  printData(
    context,
    text.replace(/^(state +)(\S+)$/m, (_, label, state) => label + colour(context, context.stdout, name, state)),
  )
}
