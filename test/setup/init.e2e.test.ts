import { afterEach, beforeEach, expect, test } from 'vitest'
import { runCheck } from '../../src/setup/check.ts'
import { withControl } from '../../src/setup/connect.ts'
import { type InitOptions, runInit } from '../../src/setup/init.ts'
import { type FreshDatabase, freePort, freshDatabase, sharedRabbit, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let options: InitOptions & { broker: NonNullable<InitOptions['broker']> }

beforeEach(async () => {
  database = await freshDatabase()
  options = {
    url: database.url,
    slot: uniqueName('init'),
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: {
      urls: async () => [sharedRabbit().url],
      exchange: uniqueName('outbox'),
      topology: { mode: 'declare', exchanges: [], queues: [], bindings: [] },
    },
    dryRun: false,
    acceptGap: false,
  }
})

afterEach(async () => {
  await sharedRabbit().ctl(
    'eval',
    `rabbit_exchange:delete({resource, <<"/">>, exchange, <<"${options.broker.exchange}">>}, false, <<"test">>).`,
  )
  await database.drop()
})

test('init makes both sides ready, and check finds nothing to complain about', async () => {
  const exchange = `exchange "${options.broker.exchange}"`
  const missing = await runCheck({ ...options, replayWindow: { time: 0, bytes: 0 }, retention: 0 })
  expect(missing.filter((finding) => finding.name === 'exchange')).toEqual([expect.objectContaining({ ok: false })])
  expect(await runInit({ ...options, dryRun: true })).toContainEqual({
    name: exchange,
    outcome: 'created',
    sql: '',
  })
  expect(await runInit(options)).toContainEqual({ name: exchange, outcome: 'created', sql: '' })
  expect(await runInit(options)).toContainEqual({ name: exchange, outcome: 'kept', sql: '' })
  const findings = await runCheck({ ...options, replayWindow: { time: 0, bytes: 0 }, retention: 0 })
  expect(findings.filter((finding) => !finding.ok && finding.severity === 'problem')).toEqual([])
  expect(findings.map((finding) => finding.name)).toContain('write permission')
})

test('a broker that cannot be reached leaves no slot behind that would keep WAL', async () => {
  const port = await freePort()
  const broker = { ...options.broker, urls: async () => [`amqp://127.0.0.1:${port}`] }
  await expect(runInit({ ...options, broker })).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' })
  const control = { url: database.url, applicationName: 'test', statementTimeout: 5000 }
  const { rows } = await withControl(control, 'looking', (client) =>
    client.query('SELECT slot_name FROM pg_replication_slots WHERE slot_name = $1', [options.slot]),
  )
  expect(rows).toEqual([])
})
