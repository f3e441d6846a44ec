import { expect, test } from 'vitest'
import { type Given, problemsOf } from './fixture.ts'

const yaml = (text: string): Given => ({ yaml: text })
const env = (name: string, value: string): Given => ({ env: { [`WAL2RABBIT_${name}`]: value } })

/** What is given, and the one line that it leads to. */
const table: readonly [Given, string][] = [
  [yaml('source:\n  slto: x'), 'source.slto (wal2rabbit.yaml:2): expected a known key; did you mean source.slot?'],
  [yaml('slot: x'), 'slot (wal2rabbit.yaml:1): expected a known key; did you mean source.slot?'],
  [yaml('source.slot: x'), 'source.slot (wal2rabbit.yaml:1): expected a known key; did you mean source.slot?'],
  [yaml('\nsource: abc'), 'source (wal2rabbit.yaml:2): expected a map of keys (url, slot, '],
  [
    yaml('sink: { confirmWindow: 5 }'),
    'sink.confirmWindow (wal2rabbit.yaml:1): expected a map of keys (messages, bytes)',
  ],
  [yaml('replay: { window: 5 }'), 'replay.window (wal2rabbit.yaml:1): expected a map of keys (time, bytes), or 0'],
  [yaml('- a\n- b'), 'the file (wal2rabbit.yaml:1): expected a map of keys (source, sink, '],
  [yaml('source:\n  slot: a\n  slot: b'), 'the file (wal2rabbit.yaml:3): expected valid YAML (DUPLICATE_KEY)'],
  [yaml('source: *nowhere'), 'the file (wal2rabbit.yaml): expected valid YAML (BAD_ALIAS)'],
  [
    yaml('source:\n  slot: Orders'),
    'source.slot = "Orders" (wal2rabbit.yaml:2): expected the name of a slot: 1 to 63 of a-z',
  ],
  [yaml('source:\n  slot: 12'), 'source.slot = 12 (wal2rabbit.yaml:2): expected the name of a slot'],
  [env('SOURCE_PUBLICATION', 'p'.repeat(64)), 'source.publication = "ppp'],
  [
    env('SOURCE_PLUGIN', 'test_decoding'),
    'source.plugin = "test_decoding" (env WAL2RABBIT_SOURCE_PLUGIN): expected pgoutput or wal2json',
  ],
  [
    env('SOURCE_TABLE', 'a.b.c'),
    'source.table = "a.b.c" (env WAL2RABBIT_SOURCE_TABLE): expected a table of the form schema.table',
  ],
  [
    env('SOURCE_COLUMNS', 'maxwell'),
    'source.columns = "maxwell" (env WAL2RABBIT_SOURCE_COLUMNS): expected default, debezium, or a map',
  ],
  [
    env('SOURCE_COLUMNS', '{ idd: x }'),
    'source.columns.idd (env WAL2RABBIT_SOURCE_COLUMNS): expected one of the keys id, ',
  ],
  [
    env('SOURCE_COLUMNS', '{ id: null }'),
    'source.columns.id = null (env WAL2RABBIT_SOURCE_COLUMNS): expected the name of a column',
  ],
  [
    env('SOURCE_COLUMNS', '{ id: [] }'),
    'source.columns.id = [] (env WAL2RABBIT_SOURCE_COLUMNS): expected the name of a column, 1 to 63 bytes, or a list',
  ],
  [env('SOURCE_COLUMNS', '{ id: [}'), 'source.columns (env WAL2RABBIT_SOURCE_COLUMNS): expected valid YAML or JSON'],
  [
    env('SOURCE_STATUS_INTERVAL', 'soon'),
    'source.statusInterval = "soon" (env WAL2RABBIT_SOURCE_STATUS_INTERVAL): expected a duration',
  ],
  [
    env('SOURCE_STATUS_INTERVAL', '30d'),
    'source.statusInterval = "30d" (env WAL2RABBIT_SOURCE_STATUS_INTERVAL): expected a duration from 100ms to 10m',
  ],
  [
    env('DEAD_LETTER_SCOPE', 'aggregate'),
    'deadLetter.scope = aggregate (env WAL2RABBIT_DEAD_LETTER_SCOPE): expected delivery.order: aggregate as well',
  ],
  [env('SINK_EXCHANGE', 'é'.repeat(128)), 'expected the name of an exchange, 1 to 255 bytes'],
  [yaml('sink:\n  exchange: ""'), 'sink.exchange = "" (wal2rabbit.yaml:2): expected the name of an exchange'],
  [
    env('SINK_ROUTING_KEY', '{nope}'),
    'sink.routingKey = "{nope}" (env WAL2RABBIT_SINK_ROUTING_KEY): expected a routing key template',
  ],
  [
    env('SINK_CONFIRM_WINDOW_MESSAGES', '0'),
    'sink.confirmWindow.messages = 0 (env WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES): expected a whole number from 1',
  ],
  [
    env('SINK_CONFIRM_WINDOW_MESSAGES', '1.5'),
    'sink.confirmWindow.messages = 1.5 (env WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES): expected a whole number',
  ],
  [
    env('SINK_MAX_MESSAGE_SIZE', '16 parsecs'),
    'sink.maxMessageSize = "16 parsecs" (env WAL2RABBIT_SINK_MAX_MESSAGE_SIZE): expected a size',
  ],
  [
    env('SINK_URL', 'amqp://a,amqps://b'),
    'sink.url = "amqp://a,amqps://b" (env WAL2RABBIT_SINK_URL): expected either amqps urls or amqp urls',
  ],
  [yaml('sink:\n  url: []'), 'sink.url = [] (wal2rabbit.yaml:2): expected one url, or a list of them'],
  [env('SINK_TLS_CA', '/etc/ca.pem'), 'sink.tls.ca (env WAL2RABBIT_SINK_TLS_CA): expected amqps in sink.url'],
  [env('SINK_TLS_VERIFY', 'false'), 'sink.tls.verify (env WAL2RABBIT_SINK_TLS_VERIFY): expected amqps in sink.url'],
  [env('SINK_TLS_VERIFY', 'no'), 'sink.tls.verify = "no" (env WAL2RABBIT_SINK_TLS_VERIFY): expected true or false'],
  [
    { env: { WAL2RABBIT_SINK_URL: 'amqps://mq', WAL2RABBIT_SINK_TLS_KEY: 'k.pem' } },
    'sink.tls.key (env WAL2RABBIT_SINK_TLS_KEY): expected sink.tls.cert as well',
  ],
  [
    yaml('sink:\n  topology:\n    queues:\n      - { name: q, type: stream,\n          durable: false }'),
    'sink.topology.queues[0].durable = false (wal2rabbit.yaml:5): expected true: quorum and stream',
  ],
  [
    yaml('sink:\n  topology:\n    queues:\n      - nam: q'),
    'sink.topology.queues[0].name (wal2rabbit.yaml:4): expected the name of a queue',
  ],
  [
    env('SINK_TOPOLOGY_QUEUES', '[{ name: q, arguments: { x-queue-type: quorum } }]'),
    'expected the queue type in the key "type"',
  ],
  [
    env('SINK_TOPOLOGY_EXCHANGES', '[{ name: amq.topic }]'),
    'expected the name of an exchange that does not begin with "amq."',
  ],
  [
    env('SINK_TOPOLOGY_BINDINGS', '{}'),
    'sink.topology.bindings = {} (env WAL2RABBIT_SINK_TOPOLOGY_BINDINGS): expected a list of bindings',
  ],
  [
    yaml('routes:\n  - type: a\n  - aggregateType: b'),
    'routes[1].aggregateType (wal2rabbit.yaml:3): expected one of the keys aggregate_type, type, ',
  ],
  [
    yaml('routes:\n  - routingKey: "{"'),
    'routes[0].routingKey = "{" (wal2rabbit.yaml:2): expected a routing key template',
  ],
  [
    yaml('routes:\n  - headers: { a: [1] }'),
    'routes[0].headers.a = [1] (wal2rabbit.yaml:2): expected a text, a number, or true or false',
  ],
  [
    env('DELIVERY_ORDER', 'strict'),
    'delivery.order = "strict" (env WAL2RABBIT_DELIVERY_ORDER): expected commit or aggregate',
  ],
  [
    env('DELIVERY_UNROUTABLE', 'ignore'),
    'delivery.unroutable = "ignore" (env WAL2RABBIT_DELIVERY_UNROUTABLE): expected dead-letter, block or drop',
  ],
  [
    env('DELIVERY_RETRY_INITIAL_DELAY', '1m'),
    'delivery.retry.initialDelay = 1m (env WAL2RABBIT_DELIVERY_RETRY_INITIAL_DELAY): expected at most delivery.retry.maxDelay (30s)',
  ],
  [
    env('ADMIN_PORT', '65536'),
    'admin.port = 65536 (env WAL2RABBIT_ADMIN_PORT): expected a whole number from 0 to 65535',
  ],
  [env('LOG_LEVEL', 'verbose'), 'log.level = "verbose" (env WAL2RABBIT_LOG_LEVEL): expected trace, debug, '],
  [
    env('SOURCE_URI', 'x'),
    'WAL2RABBIT_SOURCE_URI (env): expected a known variable; did you mean WAL2RABBIT_SOURCE_URL?',
  ],
  [
    env('SOURCE_URL_FILE', '/nonexistent'),
    'source.url (env WAL2RABBIT_SOURCE_URL_FILE): expected a readable file, /nonexistent is not (ENOENT)',
  ],
  [{ set: ['log.levl=info'] }, 'log.levl (--set): expected a known key; did you mean log.level?'],
  [{ set: ['log.level'] }, '--set (command line): expected the form key=value'],
  [{ set: ['source=x'] }, 'source (--set): expected a known key'],
  [{ set: ['admin.port=x'] }, 'admin.port = "x" (--set): expected a whole number'],
]

test.each(table)('%j leads to one line: %s', async (given, line) => {
  const problems = await problemsOf(given)
  expect(problems.join('\n')).toContain(line)
  // A misspelt key of a list item also leaves the right one missing.
  expect(problems.length).toBe(given.yaml?.includes('nam: q') ? 2 : 1)
})

test('all problems of all layers are told at once', async () => {
  const problems = await problemsOf({
    yaml: 'source: { slot: A, plugin: x }\nfoo: 1',
    env: { WAL2RABBIT_ADMIN_PORT: '-1', WAL2RABBIT_FOO: '1', DATABASE_URL: '', AMQP_URL: '' },
    set: ['log.level=x', 'bar=1'],
  })
  const keys = problems.map((line) => line.split(' ')[0]!.replace(/:$/, ''))
  expect(keys.sort()).toEqual(
    [
      'WAL2RABBIT_FOO',
      'admin.port',
      'bar',
      'foo',
      'log.level',
      'sink.url',
      'source.plugin',
      'source.slot',
      'source.url',
    ].sort(),
  )
})

test('a missing url says every way to set it', async () => {
  const [line] = await problemsOf({ env: { DATABASE_URL: '' } })
  expect(line).toMatch(/^source\.url \(not set\): expected a url of the form postgres:/)
  expect(line).toContain(
    'set WAL2RABBIT_SOURCE_URL, WAL2RABBIT_SOURCE_URL_FILE, DATABASE_URL, or source.url in wal2rabbit.yaml',
  )
})

test('a value that holds itself is refused, in the file and in a variable', async () => {
  expect(await problemsOf({ yaml: 'sink: { topology: { queues: &a [*a] } }' })).toEqual([
    'the file (wal2rabbit.yaml): expected valid YAML (BAD_ALIAS)',
  ])
  expect(await problemsOf({ set: ['sink.topology.queues=&a [*a]'] })).toEqual([
    'sink.topology.queues (--set): expected valid YAML or JSON',
  ])
})

test('a key with control characters neither breaks its line nor rules the terminal', async () => {
  expect(await problemsOf({ yaml: '"a\\nb\\e[31m": 1' })).toEqual([
    expect.stringMatching(/^a\\u000ab\\u001b\[31m \(wal2rabbit\.yaml:1\): expected a known key/),
  ])
})
