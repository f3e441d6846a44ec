import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { ErrorCode } from '../../src/base/errors.ts'
import { deleteTopology } from '../cli/broker-cleanup.ts'
import { BridgeProcess, runCommand } from '../support/bridge-process.ts'
import { startGarbage, startGreeter } from '../support/impostor.ts'
import { expectClean, expectError } from '../support/said.ts'
import { freePort, type PostgresService, sharedRabbit, startPostgres, uniqueName } from '../support/services.ts'

const name = uniqueName('bad')
let postgres: PostgresService
let amqp: URL
let fine: Record<string, string>

beforeAll(async () => {
  postgres = await startPostgres({ hba: ['host all needs_password all scram-sha-256'] })
  amqp = new URL(sharedRabbit().url)
  fine = {
    WAL2RABBIT_SOURCE_URL: pgUrl({}),
    WAL2RABBIT_SINK_URL: amqp.href,
    WAL2RABBIT_SOURCE_SLOT: name,
    WAL2RABBIT_SINK_EXCHANGE: name,
    WAL2RABBIT_SOURCE_CONNECT_TIMEOUT: '1s',
    WAL2RABBIT_SINK_CONNECT_TIMEOUT: '1s',
    WAL2RABBIT_ADMIN_PORT: String(await freePort()),
  }
  expect(await runCommand(['init'], fine)).toMatchObject({ code: 0 })
})

afterAll(async () => {
  await postgres?.dispose()
  await deleteTopology(amqp.href, { exchange: name, queue: name })
})

function pgUrl({ user = 'postgres', port = postgres.port, database = 'postgres', query = '' }): string {
  return `postgres://${user}:c4nary@127.0.0.1:${port}/${database}${query}`
}

function amqpUrl({ user = 'guest', port = Number(amqp.port), vhost = '' }): string {
  return `amqp://${user}:c4nary@${amqp.hostname}:${port}${vhost}`
}

interface Answers {
  readonly init: number
  readonly check: number
  readonly status: number
  readonly checkpoints: number
  /** The state in which it stays up. */
  readonly run: 'retrying' | 'starting' | 'halted'
  /** Whether status and checkpoints meet the trouble at all. */
  readonly readersFail: boolean
}

const sourceOutage = { init: 1, check: 1, status: 1, checkpoints: 1, run: 'retrying', readersFail: true } as const
const sourceHalt = { init: 3, check: 1, status: 1, checkpoints: 3, run: 'halted', readersFail: true } as const
// Nothing that "status" and "checkpoints" need: the former ends with 1, as no bridge answers.
const sinkOutage = { init: 1, check: 1, status: 1, checkpoints: 0, run: 'starting', readersFail: false } as const
const otherHalt = { init: 3, check: 1, status: 1, checkpoints: 0, run: 'halted', readersFail: false } as const

/** Exit codes and words of the commands that end, and the state of "run". */
async function expectAnswers(env: Record<string, string>, answers: Answers, code: ErrorCode, says: RegExp) {
  const all = { ...fine, ...env }
  const ending = (['init', 'check', 'status', 'checkpoints'] as const).map(async (command) => {
    const { code: exitCode, stdout, stderr } = await runCommand([command], all)
    expectClean(stdout + stderr)
    expect([command, exitCode], stderr + stdout).toEqual([command, answers[command]])
    if (command === 'check') expect(stdout).toMatch(says)
    if (command === 'check') expect(stdout).toMatch(/^problem .+\n +remedy: .+$/m)
    else if (command === 'init' || answers.readersFail) expectError(stderr, code, says)
  })
  await Promise.all([...ending, expectStaysUp(all, answers.run, code, says)])
}

async function expectStaysUp(env: Record<string, string>, expected: Answers['run'], code: ErrorCode, says: RegExp) {
  const bridge = await BridgeProcess.create(env)
  onTestFinished(async () => void (await bridge.end('SIGKILL')))
  bridge.start()
  const { state, reason } = await bridge.until((status) => status.reason !== null, 10_000, 'a reason')
  expect([state, reason!.code]).toEqual([expected, code])
  expect(reason!.message).toMatch(says)
  expect(reason!.remedy).not.toBe('')
  const ready = await fetch(`${bridge.url}/readyz`)
  expect(ready.status).toBe(503)
  expectClean(await ready.text())
  expect(await bridge.end('SIGTERM')).toBe(expected === 'halted' ? 3 : 0)
  expectClean(bridge.log)
  for (const line of bridge.log.trim().split('\n')) JSON.parse(line)
}

test('a PostgreSQL that is not there is waited for by "run" and fails every other command with 1', async () => {
  const env = { WAL2RABBIT_SOURCE_URL: pgUrl({ port: await freePort() }) }
  await expectAnswers(
    env,
    sourceOutage,
    'SOURCE_UNREACHABLE',
    /connecting to PostgreSQL at 127\.0\.0\.1:\d+.*ECONNREFUSED/,
  )
})

test('a RabbitMQ that is not there is waited for by "run" and fails init and check with 1', async () => {
  const env = { WAL2RABBIT_SINK_URL: amqpUrl({ port: await freePort() }) }
  await expectAnswers(env, sinkOutage, 'SINK_UNREACHABLE', /amqp:\/\/[^@]+:\d+: .*ECONNREFUSED/)
})

test('a host name that nobody knows is told as such', async () => {
  const env = { WAL2RABBIT_SOURCE_URL: 'postgres://u:c4nary@db.invalid/d' }
  await expectAnswers(env, sourceOutage, 'SOURCE_UNREACHABLE', /(ENOTFOUND|EAI_AGAIN) db\.invalid/)
})

test.each<[string, () => Record<string, string>, Answers, ErrorCode, RegExp]>([
  [
    'a wrong password for PostgreSQL',
    () => ({ WAL2RABBIT_SOURCE_URL: pgUrl({ user: 'needs_password' }) }),
    sourceHalt,
    'SOURCE_AUTH_FAILED',
    /password authentication failed for user "needs_password"/,
  ],
  [
    'a database that does not exist',
    () => ({ WAL2RABBIT_SOURCE_URL: pgUrl({ database: 'none' }) }),
    sourceHalt,
    'SOURCE_DATABASE_MISSING',
    /database "none" does not exist/,
  ],
  [
    'a wrong password for RabbitMQ',
    () => ({ WAL2RABBIT_SINK_URL: amqpUrl({}) }),
    otherHalt,
    'SINK_AUTH_FAILED',
    /ACCESS_REFUSED/,
  ],
  [
    'a vhost that does not exist',
    () => ({ WAL2RABBIT_SINK_URL: `${amqp.href.replace(/\/$/, '')}/none` }),
    otherHalt,
    'SINK_AUTH_FAILED',
    /refused the vhost "none"/,
  ],
  [
    'an exchange that only a route names',
    () => ({ WAL2RABBIT_ROUTES: `[{ type: x }, { exchange: ${name}_none }]` }),
    otherHalt,
    'SINK_EXCHANGE_MISSING',
    /_none" does not exist .*routes\[1\]\.exchange names it/,
  ],
  [
    'the slot of another plugin',
    () => ({ WAL2RABBIT_SOURCE_PLUGIN: 'wal2json' }),
    otherHalt,
    'SLOT_WRONG_PLUGIN',
    /pgoutput.*wal2json/,
  ],
])('%s halts "run" until it is mended, and is told by all that meet it', async (_, env, answers, code, says) => {
  await expectAnswers(env(), answers, code, says)
})

/** The greeting of a MySQL server, protocol 10. */
const mysql = Buffer.from('4a0000000a382e302e333600080000005a5b5c5d5e5f606100ffffff0200ffdf1500', 'hex')
const http = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

test.each([
  ['MySQL', () => startGreeter(mysql), /received invalid response.*expected a PostgreSQL server/],
  ['an HTTP server', () => startGarbage(http), /timeout expired/],
])('%s behind the port of PostgreSQL is an outage, not a riddle', async (_, start, says) => {
  const env = { WAL2RABBIT_SOURCE_URL: pgUrl({ port: (await start()).port }) }
  await expectAnswers(env, sourceOutage, 'SOURCE_UNREACHABLE', says)
})

test.each([
  ['MySQL', () => startGreeter(mysql), /./],
  ['an HTTP server', () => startGarbage(http), /expected an AMQP 0-9-1 broker/],
])('%s behind the port of RabbitMQ is an outage, not a riddle', async (_, start, says) => {
  const env = { WAL2RABBIT_SINK_URL: amqpUrl({ port: (await start()).port }) }
  await expectAnswers(env, sinkOutage, 'SINK_UNREACHABLE', says)
})

test('each server behind the url of the other is told as no server of its kind', async () => {
  const rabbit = { WAL2RABBIT_SOURCE_URL: pgUrl({ port: Number(amqp.port) }) }
  await expectAnswers(rabbit, sourceOutage, 'SOURCE_UNREACHABLE', /expected a PostgreSQL server/)
  const other = { WAL2RABBIT_SINK_URL: amqpUrl({ port: postgres.port }) }
  await expectAnswers(other, sinkOutage, 'SINK_UNREACHABLE', /expected an AMQP 0-9-1 broker/)
})
