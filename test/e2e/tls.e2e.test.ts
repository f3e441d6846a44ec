import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { askReplication } from '../../src/setup/replication-question.ts'
import { BridgeProcess } from '../support/bridge-process.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { startAmqpTls, startGarbage, startPostgresTls } from '../support/impostor.ts'
import { type PostgresService, type RabbitService, startPostgres, startRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

// The servers' certificate names localhost and not 127.0.0.1: the address is the wrong host name.
let good: Certificates
let expired: Certificates
let postgres: PostgresService
let rabbit: RabbitService
let stage: Stage

beforeAll(async () => {
  ;[good, expired] = await Promise.all([
    makeCertificates({ names: 'DNS:localhost' }),
    makeCertificates({ names: 'DNS:localhost', expired: true }),
  ])
  ;[postgres, rabbit] = await Promise.all([startPostgres({ tls: good }), startRabbit({ tls: good })])
  stage = await Stage.create({
    databaseUrl: sourceUrl(`sslmode=verify-full&sslrootcert=${good.ca}`),
    amqpUrl: rabbit.url,
    env: { WAL2RABBIT_SINK_URL: rabbit.tlsUrl!, WAL2RABBIT_SINK_TLS_CA: good.ca },
  })
})

afterAll(async () => {
  await stage?.dispose()
  await Promise.all([postgres?.dispose(), rabbit?.dispose()])
})

function sourceUrl(query: string, host = 'localhost', port = postgres.port): string {
  return `postgres://postgres:c4nary@${host}:${port}/postgres?${query}`
}

/** `run` with another configuration than that of the stage; gives the code of the halt, after a look at what is said. */
async function haltOf(env: Record<string, string>): Promise<string | undefined> {
  const bridge = await BridgeProcess.create({ ...stage.bridge.env, ...env })
  onTestFinished(async () => void (await bridge.end('SIGKILL')))
  bridge.start()
  const { reason } = await bridge.until((status) => status.state === 'halted', 15_000, 'the halt')
  expect((await fetch(`${bridge.url}/readyz`)).status).toBe(503)
  expect(await bridge.end('SIGTERM'), bridge.log).toBe(3)
  expect(bridge.log + JSON.stringify(reason)).not.toContain('c4nary')
  expect(bridge.log).not.toMatch(/\\n +at /)
  return reason?.code
}

test('verify-full on both sides works end to end, and every connection is encrypted', async () => {
  const collector = await stage.collector()
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming' && status.replayWindow !== null)
  await stage.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('order', '1', 'OrderPlaced')`)
  await collector.until(() => collector.ids.size === 1, 10_000, 'the event')

  const connections = await stage.query(
    `SELECT application_name AS name, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
     WHERE application_name LIKE 'wal2rabbit%' ORDER BY 1`,
  )
  expect(connections).toEqual([
    { name: 'wal2rabbit', ssl: true },
    { name: 'wal2rabbit anchors', ssl: true },
    { name: 'wal2rabbit checkpoint', ssl: true },
    { name: 'wal2rabbit dead letters', ssl: true },
  ])
  const broker = await rabbit.ctl('list_connections', '--quiet', 'ssl', 'client_properties')
  expect(broker.split('\n').filter((line) => line.includes('wal2rabbit'))).toEqual([expect.stringMatching(/^true\b/)])
  expect(await stage.bridge.end('SIGTERM')).toBe(0)
})

test.each([
  [
    'an authority that did not sign the certificate',
    () => sourceUrl(`sslmode=verify-full&sslrootcert=${good.otherCa}`),
  ],
  ['that authority with verify-ca', () => sourceUrl(`sslmode=verify-ca&sslrootcert=${good.otherCa}`)],
  ['that authority with require', () => sourceUrl(`sslmode=require&sslrootcert=${good.otherCa}`)],
  ['no authority but those of the system', () => sourceUrl('sslmode=verify-full')],
  ['another host name', () => sourceUrl(`sslmode=verify-full&sslrootcert=${good.ca}`, '127.0.0.1')],
])('PostgreSQL with %s halts with SOURCE_TLS_FAILED', async (_, url) => {
  expect(await haltOf({ WAL2RABBIT_SOURCE_URL: url() })).toBe('SOURCE_TLS_FAILED')
})

test('an expired certificate of PostgreSQL halts, and it is sent nothing', async () => {
  const impostor = await startPostgresTls(expired)
  const url = sourceUrl(`sslmode=verify-full&sslrootcert=${expired.ca}`, 'localhost', impostor.port)
  expect(await haltOf({ WAL2RABBIT_SOURCE_URL: url })).toBe('SOURCE_TLS_FAILED')
  expect(impostor.trusted().toString()).toBe('')
})

test.each(['require', 'verify-ca', 'verify-full'])(
  'PostgreSQL without TLS halts under sslmode=%s, and is sent nothing but the request for it',
  async (mode) => {
    const impostor = await startGarbage('N')
    const url = sourceUrl(`sslmode=${mode}&sslrootcert=${good.ca}`, 'localhost', impostor.port)
    expect(await haltOf({ WAL2RABBIT_SOURCE_URL: url })).toBe('SOURCE_TLS_FAILED')
    // Length 8 and the code of an SSLRequest, as often as it was tried.
    expect(impostor.received().toString('hex')).toMatch(/^(0000000804d2162f)+$/)
  },
)

test.each([
  ['require', 'localhost', () => 'sslmode=require', true],
  ['require, whoever answers', '127.0.0.1', () => 'sslmode=require', true],
  ['require with an authority, which is verify-ca', '127.0.0.1', () => `sslmode=require&sslrootcert=${good.ca}`, true],
  ['verify-ca, whatever the name', '127.0.0.1', () => `sslmode=verify-ca&sslrootcert=${good.ca}`, true],
  ['verify-full', 'localhost', () => `sslmode=verify-full&sslrootcert=${good.ca}`, true],
  ['disable', 'localhost', () => 'sslmode=disable', false],
])('sslmode=%s counts for the ordinary and the replication connection alike', async (_, host, query, encrypted) => {
  const url = sourceUrl(query(), host)
  const sql = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'
  const client = await connectControl({ url, applicationName: 'test', statementTimeout: 5000 })
  try {
    expect((await client.query(sql)).rows).toEqual([{ ssl: encrypted }])
  } finally {
    await endControl(client)
  }
  expect(await askReplication(url, sql, 'asking')).toEqual({ ssl: encrypted ? 't' : 'f' })
})

const brokerUrl = (host: string, port: string | number) => `amqps://guest:guest@${host}:${port}`
const tlsPort = () => new URL(rabbit.tlsUrl!).port

test.each([
  ['an authority that did not sign the certificate', () => ({ WAL2RABBIT_SINK_TLS_CA: good.otherCa })],
  ['no authority but those of the system', () => ({ WAL2RABBIT_SINK_TLS_CA: '' })],
  ['another host name', () => ({ WAL2RABBIT_SINK_URL: brokerUrl('127.0.0.1', tlsPort()) })],
  ['another name asked for', () => ({ WAL2RABBIT_SINK_TLS_SERVER_NAME: 'mq.example.org' })],
  ['a port without TLS', () => ({ WAL2RABBIT_SINK_URL: brokerUrl('localhost', rabbit.port) })],
])('RabbitMQ with %s halts with SINK_TLS_FAILED', async (_, env) => {
  expect(await haltOf(env())).toBe('SINK_TLS_FAILED')
})

test('an expired certificate of RabbitMQ halts, and it is sent nothing', async () => {
  const impostor = await startAmqpTls(expired)
  const url = `amqps://bridge:c4nary@localhost:${impostor.port}`
  expect(await haltOf({ WAL2RABBIT_SINK_URL: url, WAL2RABBIT_SINK_TLS_CA: expired.ca })).toBe('SINK_TLS_FAILED')
  expect(impostor.trusted().toString()).toBe('')
})

test('a broker that answers in plain text halts, and is sent nothing but TLS', async () => {
  const impostor = await startGarbage('AMQP\u0000\u0000\u0009\u0001')
  const url = `amqps://bridge:c4nary@localhost:${impostor.port}`
  expect(await haltOf({ WAL2RABBIT_SINK_URL: url })).toBe('SINK_TLS_FAILED')
  // A TLS record of the kind "handshake", version 3.x.
  expect(impostor.received().subarray(0, 2).toString('hex')).toBe('1603')
  expect(impostor.received().includes('AMQP')).toBe(false)
})

test.each([
  ['sink.tls.serverName names another host than the url', { WAL2RABBIT_SINK_TLS_SERVER_NAME: 'localhost' }],
  ['sink.tls.verify is false', { WAL2RABBIT_SINK_TLS_VERIFY: 'false', WAL2RABBIT_SINK_TLS_CA: '' }],
])('RabbitMQ behind its address is taken when %s', async (_, env) => {
  const url = brokerUrl('127.0.0.1', tlsPort())
  const bridge = await BridgeProcess.create({ ...stage.bridge.env, WAL2RABBIT_SINK_URL: url, ...env })
  onTestFinished(async () => void (await bridge.end('SIGKILL')))
  bridge.start()
  await bridge.until((status) => status.state === 'streaming')
  expect(await bridge.end('SIGTERM')).toBe(0)
})
