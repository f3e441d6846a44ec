import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryFolder } from '../config/fixture.ts'
import { freshDatabase, sharedRabbit, uniqueName } from '../support/services.ts'
import { deleteTopology } from './broker-cleanup.ts'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface Started {
  readonly child: ChildProcess
  readonly code: Promise<number | null>
  readonly printed: { out: string; err: string }
  /** Resolves once standard error holds the text; rejects when the process ends before. */
  said(text: string): Promise<void>
}

async function prepare() {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const name = uniqueName('cli')
  const amqpUrl = sharedRabbit().url
  onTestFinished(() => deleteTopology(amqpUrl, { exchange: name, queue: name }))
  const cwd = await temporaryFolder()
  const env = {
    PATH: process.env.PATH ?? '',
    DATABASE_URL: database.url,
    AMQP_URL: amqpUrl,
    WAL2RABBIT_SOURCE_SLOT: name,
    WAL2RABBIT_SINK_EXCHANGE: name,
    WAL2RABBIT_ADMIN_PORT: '0',
    WAL2RABBIT_SHUTDOWN_TIMEOUT: '30s',
    WAL2RABBIT_DELIVERY_UNROUTABLE: 'block',
  }
  const start = (args: readonly string[], extra: Record<string, string> = {}) =>
    startMain(args, { ...env, ...extra }, cwd)
  const insert = async () => {
    const client = new pg.Client(database.url)
    await client.connect()
    await client.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('order', '1', 'created')`)
    await client.end()
  }
  const topology = {
    WAL2RABBIT_SINK_TOPOLOGY_QUEUES: `[{ name: ${name}, type: classic }]`,
    WAL2RABBIT_SINK_TOPOLOGY_BINDINGS: `[{ exchange: ${name}, queue: ${name}, routingKey: "#" }]`,
  }
  return { start, insert, topology }
}

function startMain(args: readonly string[], env: Record<string, string>, cwd: string): Started {
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main, ...args], { cwd, env })
  onTestFinished(() => void child.kill('SIGKILL'))
  const printed = { out: '', err: '' }
  child.stdout.on('data', (chunk) => (printed.out += chunk))
  child.stderr.on('data', (chunk) => (printed.err += chunk))
  const code = new Promise<number | null>((resolve) => child.on('close', resolve))
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (printed.err.includes(text)) resolve()
      }
      child.stderr.on('data', look)
      child.on('close', () => reject(new Error(`ended before it said "${text}":\n${printed.err}`)))
      look()
    })
  return { child, code, printed, said }
}

test('init, check, run and a stop in order end with 0, and the checkpoint is listed', async () => {
  const { start, insert, topology } = await prepare()
  const init = start(['init', '--json'], topology)
  expect(await init.code, init.printed.err).toBe(0)
  const names = (JSON.parse(init.printed.out) as { name: string; outcome: string }[]).map((step) => step.outcome)
  expect(names.length).toBeGreaterThan(4)
  const check = start(['check'], topology)
  expect(await check.code, check.printed.out).toBe(0)

  const run = start(['run'], topology)
  await run.said('"to":"streaming"')
  await insert()
  run.child.kill('SIGTERM')
  expect(await run.code, run.printed.err).toBe(0)
  expect(run.printed.err).toContain('"drained":true')

  const checkpoints = start(['checkpoints', '--json'])
  expect(await checkpoints.code).toBe(0)
  expect(JSON.parse(checkpoints.printed.out)[0]).toMatchObject({ kind: 'stop' })
})

test('a second signal ends the process at once, with 1', async () => {
  const { start, insert } = await prepare()
  expect(await start(['init']).code).toBe(0)
  const run = start(['run'])
  await run.said('"to":"streaming"')
  // Nothing is bound to the exchange and the policy is to block: this event keeps the drain waiting.
  await insert()
  await run.said('EVENT_UNROUTABLE')
  run.child.kill('SIGTERM')
  await run.said('stopping: waiting')
  run.child.kill('SIGINT')
  expect(await run.code).toBe(1)
  expect(run.printed.err).toContain('second signal')
})
