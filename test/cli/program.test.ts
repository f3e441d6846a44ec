import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { redactUrls } from '../../src/base/secrets.ts'
import { version } from '../../src/base/version.ts'
import type { CliContext, ProcessSettings } from '../../src/cli/context.ts'
import { exitCodeOf, reportFailure } from '../../src/cli/failure.ts'
import { runProgram } from '../../src/cli/program.ts'
import { statusUrl } from '../../src/cli/status.ts'
import { formatFacts, formatTable } from '../../src/cli/table.ts'
import { fineUrls, temporaryFolder } from '../config/fixture.ts'

async function cli(args: readonly string[], options: { env?: Record<string, string>; isTTY?: boolean } = {}) {
  const printed = { out: '', err: '' }
  const tuned: ProcessSettings[] = []
  const isTTY = options.isTTY === true
  const context: CliContext = {
    env: options.env ?? {},
    cwd: await temporaryFolder(),
    stdout: { write: (text) => (printed.out += text), isTTY },
    stderr: { write: (text) => (printed.err += text), isTTY },
    scrub: redactUrls,
    log: undefined,
    tune: (settings) => void tuned.push(settings),
  }
  const code = await runProgram(args, context)
  return { code, ...printed, context, tuned }
}

const commands = ['init', 'check', 'run', 'status', 'checkpoints', 'retention']

test.each<[string, string[], RegExp]>([
  ['no command', [], /^error USAGE: no command given/m],
  ['an unknown command', ['rum'], /^error USAGE: unknown command 'rum' \(Did you mean run\?\)$/m],
  ['an unknown flag', ['run', '--slott=x'], /^error USAGE: unknown option '--slott' \(Did you mean --slot\?\)$/m],
  ['a flag without its value', ['run', '--slot'], /^error USAGE: option '--slot <value>' argument missing$/m],
  ['an argument too many', ['run', 'now'], /^error USAGE: too many arguments/m],
  [
    'a limit that is no number',
    ['checkpoints', '--limit', 'x'],
    /^error USAGE: .*expected a whole number from 1 to 100000$/m,
  ],
  ['a mark without a name', ['checkpoints', 'mark'], /^error USAGE: missing required argument 'name'$/m],
  ['flags before the subcommand count', ['checkpoints', '--slot', 'A', 'mark', 'v2'], /source\.slot = "A" \(--slot\)/],
  ['flags after the subcommand count', ['checkpoints', 'mark', 'v2', '--slot', 'A'], /source\.slot = "A" \(--slot\)/],
  ['a configuration without urls', ['run'], /^error CONFIG_INVALID: 2 problems in the configuration:$/m],
  ['a wrong --set', ['check', '--set', 'foo=1'], /^ {2}foo \(--set\): expected a known key/m],
  ['a wrong short flag', ['run', '--slot', 'A'], /^ {2}source\.slot = "A" \(--slot\): expected the name of a slot/m],
  ['a missing file', ['init', '--config', 'no.yaml'], /^error CONFIG_FILE_UNREADABLE: .*no\.yaml \(ENOENT\)/m],
])('%s ends with exit code 2, an error and a remedy', async (_, args, line) => {
  const { code, out, err } = await cli(args)
  expect(code).toBe(2)
  expect(out).toBe('')
  expect(err).toMatch(line)
  expect(err).toMatch(/^remedy: \S/m)
  expect(err).not.toMatch(/^\s+at .+:\d+:\d+/m)
})

test.each([
  [['run', '--password=c4nary']],
  [['run', '--set', 'source.url=postgres://u:c4nary@h/d']],
  [['amqp://u:c4nary@h']],
  [['run', 'amqp://u:c4nary@h']],
])('%j is refused without repeating the secret', async (args) => {
  const { code, err } = await cli(args)
  expect(code).toBe(2)
  expect(err).not.toContain('c4nary')
})

test.each(commands)(
  '%s --help describes the command, its flags and its exit codes on standard output',
  async (name) => {
    const { code, out, err } = await cli([name, '--help'])
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain(`Usage: wal2rabbit ${name}`)
    expect(out).toContain('--config <file>')
    expect(out).toContain('--set <key=value>')
  },
)

test('--help lists every command, --version prints the version of the package', async () => {
  const { out } = await cli(['--help'])
  for (const name of commands) expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  expect(await cli(['--version'])).toMatchObject({ code: 0, out: `${version}\n` })
})

test('errors are coloured on a terminal only, and not with NO_COLOR', async () => {
  expect((await cli(['rum'], { isTTY: true })).err).toContain('\u001b[31merror USAGE:')
  expect((await cli(['rum'], { isTTY: true, env: { NO_COLOR: '1' } })).err).not.toContain('\u001b[')
  expect((await cli(['rum'])).err).not.toContain('\u001b[')
})

async function bridgeAnswering(status: number, body: string): Promise<Record<string, string>> {
  const server = createServer((_, response) => response.writeHead(status).end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { ...fineUrls, WAL2RABBIT_ADMIN_PORT: String((server.address() as AddressInfo).port) }
}

test.each([
  ['streaming', 0],
  ['retrying', 0],
  ['halted', 3],
])('status prints the JSON of a bridge that is %s unchanged, and ends with %i', async (state, code) => {
  const status = { state, reason: null, positions: { stored: '16/B374D848' } }
  const result = await cli(['status', '--json'], { env: await bridgeAnswering(200, JSON.stringify(status)) })
  expect(result).toMatchObject({ code, err: '' })
  expect(JSON.parse(result.out)).toEqual(status)
})

test('status for people is a line a fact', async () => {
  const env = await bridgeAnswering(
    200,
    '{"state":"standby","reason":null,"positions":{"stored":"0/1","settled":null}}',
  )
  const { out } = await cli(['status'], { env })
  expect(out).toBe('state              standby\nreason             -\npositions.stored   0/1\npositions.settled  -\n')
})

test.each([
  [503, '{}', 'HTTP 503'],
  [200, '<html>', 'SyntaxError'],
  [200, '{"hello":1}', 'something else answers there'],
])('an answer %i %s is not taken for a bridge', async (status, body, why) => {
  const env = { ...(await bridgeAnswering(status, body)), DATABASE_URL: await closedPostgres() }
  const { code, err } = await cli(['status'], { env })
  expect(err).toContain(`(${why}): reading what is stored in PostgreSQL`)
  expect(err).toContain('error SOURCE_UNREACHABLE')
  expect(code).toBe(1)
})

/** A url on which nothing listens. */
async function closedPostgres(): Promise<string> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return `postgres://u:c4nary@127.0.0.1:${port}/d`
}

test('PostgreSQL out of reach is one error with a remedy and exit code 1, without the password', async () => {
  const env = { ...fineUrls, DATABASE_URL: await closedPostgres() }
  const { code, err, out } = await cli(['checkpoints'], { env })
  expect([code, out]).toEqual([1, ''])
  expect(err).toMatch(/^error SOURCE_UNREACHABLE: .*\nremedy: /)
  expect(err).not.toContain('c4nary')
})

test('the admin address is made one that can be called', () => {
  expect(statusUrl('0.0.0.0', 8090)).toBe('http://127.0.0.1:8090/api/status')
  expect(statusUrl('::', 1)).toBe('http://[::1]:1/api/status')
  expect(statusUrl('fe80::1', 1)).toBe('http://[fe80::1]:1/api/status')
  expect(statusUrl('bridge.internal', 80)).toBe('http://bridge.internal:80/api/status')
})

test('an error ends a command with the exit code of its kind', () => {
  const codes = ['CONFIG_INVALID', 'SLOT_MISSING', 'SOURCE_AUTH_FAILED', 'SOURCE_UNREACHABLE', 'UNKNOWN'] as const
  expect(codes.map((code) => exitCodeOf(new BridgeError(code, 'x')))).toEqual([2, 3, 3, 1, 1])
})

test('what nobody expected is UNKNOWN, with its cause and without a stack', async () => {
  const { context } = await cli(['--version'])
  let said = ''
  const code = reportFailure(new TypeError('x is not a function'), {
    ...context,
    stderr: { write: (text) => (said += text) },
  })
  expect(code).toBe(1)
  expect(said).toMatch(/^error UNKNOWN: x is not a function\nremedy: .*\n$/)
})

test('tables line up, facts are flattened', () => {
  expect(
    formatTable([
      { lsn: '0/1', kind: 'start' },
      { lsn: '16/B374D848', kind: null },
    ]),
  ).toBe('lsn          kind\n0/1          start\n16/B374D848  -')
  expect(formatFacts({ a: { b: 1.23456, cc: { d: [1] } } })).toBe('a.b     1.235\na.cc.d  [1]')
})

test('a replay asks for a small process that gives way to others', async () => {
  const env = { ...fineUrls, DATABASE_URL: await closedPostgres() }
  const { code, tuned } = await cli(['replay', '--from', '0/1'], { env })
  expect([code, tuned]).toEqual([1, [{ smallHeap: true, givesWay: true }]])
})
