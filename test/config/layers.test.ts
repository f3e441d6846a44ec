import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { configKeys, configSections } from '../../src/config/keys.ts'
import { loadConfig } from '../../src/config/load.ts'
import { fineUrls, load, temporaryFolder } from './fixture.ts'

/** A text for the variable of each key, and what it resolves to. A new key without a line here fails below. */
const samples: Record<string, readonly [text: string, resolved: unknown]> = {
  'source.url': ['postgres://a@b/c', 'postgres://a@b/c'],
  'source.slot': ['123', '123'],
  'source.publication': ['orders', 'orders'],
  'source.plugin': ['wal2json', 'wal2json'],
  'source.table': ['sales.events', 'sales.events'],
  'source.columns': [
    '{"id": "event_id", "payload": ["body", "payload"], "headers": null}',
    { id: 'event_id', payload: ['body', 'payload'], headers: null },
  ],
  'source.statusInterval': ['5s', 5000],
  'source.walSenderTimeout': ['1m', 60_000],
  'source.connectTimeout': ['250', 250],
  'sink.url': ['amqps://a,amqps://b', ['amqps://a', 'amqps://b']],
  'sink.exchange': ['events', 'events'],
  'sink.routingKey': ['{type}', '{type}'],
  'sink.confirmWindow.messages': ['1000', 1000],
  'sink.confirmWindow.bytes': ['1MiB', 1_048_576],
  'sink.maxMessageSize': ['1MB', 1_000_000],
  'sink.heartbeat': ['20s', 20_000],
  'sink.connectTimeout': ['1s', 1000],
  'sink.confirmTimeout': ['1m', 60_000],
  'sink.tls.ca': ['/ca.pem', '/ca.pem'],
  'sink.tls.cert': ['/cert.pem', '/cert.pem'],
  'sink.tls.key': ['/key.pem', '/key.pem'],
  'sink.tls.passphrase': ['0123', '0123'],
  'sink.tls.serverName': ['mq.internal', 'mq.internal'],
  'sink.tls.verify': ['false', false],
  'sink.topology.mode': ['verify', 'verify'],
  'sink.topology.exchanges': ['[{name: e}]', [{ name: 'e', type: 'topic', durable: true, arguments: {} }]],
  'sink.topology.queues': ['[{name: q}]', [{ name: 'q', type: 'quorum', durable: true, arguments: {} }]],
  'sink.topology.bindings': [
    '[{exchange: e, queue: q, routingKey: "#"}]',
    [{ exchange: 'e', queue: 'q', routingKey: '#', arguments: {} }],
  ],
  routes: [
    '- { type: "order.*", exchange: e, headers: { v: 1 } }',
    [{ type: 'order.*', exchange: 'e', headers: { v: 1 } }],
  ],
  'delivery.order': ['aggregate', 'aggregate'],
  'delivery.retry.attempts': ['3', 3],
  'delivery.retry.initialDelay': ['1s', 1000],
  'delivery.retry.maxDelay': ['2s', 2000],
  'delivery.unroutable': ['block', 'block'],
  'deadLetter.scope': ['aggregate', 'aggregate'],
  'checkpoint.interval': ['1s', 1000],
  'checkpoint.historyInterval': ['1m', 60_000],
  'checkpoint.historyRetention.time': ['1d', 86_400_000],
  'checkpoint.historyRetention.count': ['5', 5],
  'replay.window.time': ['0', 0],
  'replay.window.bytes': ['2GiB', 2_147_483_648],
  'outbox.retention': ['30d', 2_592_000_000],
  'admin.host': ['0.0.0.0', '0.0.0.0'],
  'admin.port': ['0', 0],
  'log.level': ['debug', 'debug'],
  'log.format': ['json', 'json'],
  'shutdown.timeout': ['5s', 5000],
}

function valueAt(config: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown>)[name], config)
}

test('every key can be set by its environment variable', async () => {
  const env: Record<string, string> = {}
  for (const key of configKeys.values()) env[key.env] = samples[key.path]![0]
  const { config } = await loadConfig({ env, cwd: await temporaryFolder() })
  const resolved = Object.fromEntries([...configKeys.keys()].map((path) => [path, valueAt(config, path)]))
  expect(resolved).toEqual(Object.fromEntries(Object.entries(samples).map(([path, [, value]]) => [path, value])))
})

test('no two keys share a variable', () => {
  const names = [...configKeys.values(), ...configSections.values()].map((key) => key.env)
  expect(new Set(names).size).toBe(names.length)
})

test('the variable of a key is its path in upper snake case', () => {
  expect(configKeys.get('sink.confirmWindow.messages')?.env).toBe('WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES')
})

test('defaults hold where nothing is set', async () => {
  const { config } = await load({})
  expect(config.source).toMatchObject({
    slot: 'wal2rabbit',
    table: 'public.outbox',
    columns: 'default',
    plugin: 'pgoutput',
  })
  expect(config.sink).toMatchObject({
    exchange: 'outbox',
    routingKey: '{aggregate_type}.{type}',
    tls: { verify: true },
  })
  expect(config.sink.confirmWindow).toEqual({ messages: 2000, bytes: 33_554_432 })
  expect(config.admin).toEqual({ host: '127.0.0.1', port: 8090 })
  expect(config.checkpoint.interval).toBe(200)
})

test('later layers win: fallback, file, environment, flag', async () => {
  const yaml = 'source: { url: postgres://file@db/shop, slot: from_file, publication: from_file, table: from_file }'
  const env = { WAL2RABBIT_SOURCE_SLOT: 'from_env', WAL2RABBIT_SOURCE_PUBLICATION: 'from_env' }
  const { config } = await load({ yaml, env, set: ['source.slot=from_flag'] })
  const { url, slot, publication, table } = config.source
  expect([url, slot, publication, table]).toEqual(['postgres://file@db/shop', 'from_flag', 'from_env', 'from_file'])
})

test('empty keys, empty sections and an empty variable count as not set', async () => {
  const { config } = await load({ yaml: 'source:\n  slot:\nsink:\n', env: { WAL2RABBIT_LOG_LEVEL: '' } })
  expect([config.source.slot, config.log.level]).toEqual(['wal2rabbit', 'info'])
})

test('an empty file is no problem, and JSON is YAML', async () => {
  expect((await load({ yaml: '' })).config.source.slot).toBe('wal2rabbit')
  expect((await load({ yaml: '{"source": {"slot": "x"}}' })).config.source.slot).toBe('x')
})

test('anchors and aliases of the file are followed', async () => {
  const { config } = await load({ yaml: 'source: { connectTimeout: &t 3s }\nsink: { connectTimeout: *t }' })
  expect(config.sink.connectTimeout).toBe(3000)
})

test('0 for the replay window turns both of its limits off, and a later layer may set one again', async () => {
  expect((await load({ yaml: 'replay: { window: 0 }' })).config.replay.window).toEqual({ time: 0, bytes: 0 })
  const env = { WAL2RABBIT_REPLAY_WINDOW: '0', WAL2RABBIT_REPLAY_WINDOW_TIME: '1h' }
  expect((await load({ env })).config.replay.window).toEqual({ time: 3_600_000, bytes: 0 })
  expect((await load({ set: ['replay.window=0'] })).config.replay.window).toEqual({ time: 0, bytes: 0 })
})

test('variables for tests and those that Kubernetes makes for a service are passed over', async () => {
  const env = {
    WAL2RABBIT_TEST_POSTGRES_URL: 'x',
    WAL2RABBIT_SERVICE_HOST: '10.0.0.1',
    WAL2RABBIT_SERVICE_PORT_HTTP: '8090',
    WAL2RABBIT_PORT: 'tcp://10.0.0.1:8090',
    WAL2RABBIT_PORT_8090_TCP_ADDR: '10.0.0.1',
    WAL2RABBIT_METRICS_SERVICE_PORT: '8090',
  }
  expect((await load({ env })).config.admin.port).toBe(8090)
})

test('a configuration file that was asked for must be there', async () => {
  const cwd = await temporaryFolder()
  const failure = loadConfig({ file: 'missing.yaml', env: fineUrls, cwd })
  await expect(failure).rejects.toMatchObject({
    code: 'CONFIG_FILE_UNREADABLE',
    message: expect.stringContaining('ENOENT'),
  })
})

test('a file that is there and cannot be read is an error, also when nobody asked for it', async () => {
  const cwd = await temporaryFolder()
  const { mkdir } = await import('node:fs/promises')
  await mkdir(join(cwd, 'wal2rabbit.yaml'))
  await expect(loadConfig({ env: fineUrls, cwd })).rejects.toMatchObject({ code: 'CONFIG_FILE_UNREADABLE' })
})

test('origins name the file as it was given', async () => {
  const cwd = await temporaryFolder()
  await writeFile(join(cwd, 'other.yaml'), 'log: { level: x }')
  await expect(loadConfig({ file: './other.yaml', env: fineUrls, cwd })).rejects.toThrow('(./other.yaml:1)')
})
