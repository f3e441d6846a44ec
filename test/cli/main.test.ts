import { spawn } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryFolder } from '../config/fixture.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Runs the program as a user would, apart from the compile step. */
async function runMain(args: readonly string[], env: Record<string, string> = {}, preload: readonly string[] = []) {
  const tsx = import.meta.resolve('tsx')
  const child = spawn(process.execPath, ['--import', tsx, ...preload, `${root}src/cli/main.ts`, ...args], {
    cwd: await temporaryFolder(),
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const printed = { out: '', err: '' }
  child.stdout.on('data', (chunk) => (printed.out += chunk))
  child.stderr.on('data', (chunk) => (printed.err += chunk))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, ...printed }
}

test('the process ends with 0 and the version', async () => {
  expect(await runMain(['--version'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    err: '',
  })
})

test('the process ends with 2 for a wrong command line', async () => {
  expect(await runMain(['rum'])).toMatchObject({ code: 2, out: '', err: expect.stringContaining('error USAGE') })
})

test('the process ends with 2 for a wrong configuration, and shows no secret', async () => {
  const env = {
    WAL2RABBIT_SOURCE_URL: 'postgres://u:c4nary@h/d?sslmode=prefer',
    WAL2RABBIT_SINK_URL: 'http://u:c4nary@h',
  }
  const { code, err } = await runMain(['run'], env)
  expect(code).toBe(2)
  expect(err).toContain('2 problems in the configuration')
  expect(err).not.toContain('c4nary')
})

test.each(['throw', 'Promise.reject'])(
  'an error that nobody handles (%s) ends the process with 1, as UNKNOWN and without a stack',
  async (how) => {
    // An admin server that never answers keeps "status" waiting until the error comes.
    const silent = createServer((socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const fail = how === 'throw' ? 'throw new Error(m)' : 'Promise.reject(new Error(m))'
    const source = `const m = 'boom at amqp://u:c4nary@h'
    process.on('newListener', (event) => { if (event === 'unhandledRejection') setTimeout(() => { ${fail} }, 50) })`
    const preload = ['--import', `data:text/javascript,${encodeURIComponent(source)}`]
    const env = { DATABASE_URL: 'postgres://h/d', AMQP_URL: 'amqp://h', WAL2RABBIT_ADMIN_PORT: String(port) }
    const { code, out, err } = await runMain(['status'], env, preload)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^error UNKNOWN: boom at amqp:\/\/u:\*\*\*@h\nremedy: .*\n$/)
  },
  20_000,
)
