import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../config/fixture.ts'
import { runCommand } from '../support/bridge-process.ts'
import { startGarbage } from '../support/impostor.ts'
import { expectClean, expectError } from '../support/said.ts'

// No server is met here: all of this is told before anything is connected to.
const fine = {
  WAL2RABBIT_SOURCE_URL: 'postgres://u:c4nary@db.invalid/shop',
  WAL2RABBIT_SINK_URL: 'amqp://u:c4nary@mq.invalid',
}

test.each<[string, Record<string, string>, RegExp]>([
  ['an unknown variable', { WAL2RABBIT_SINK_HEARTBEET: '1s' }, /WAL2RABBIT_SINK_HEARTBEET.*did you mean/],
  ['a wrong value', { WAL2RABBIT_SINK_HEARTBEAT: 'soon' }, /sink\.heartbeat = "soon".*expected a duration/],
  ['a word that is none of the choices', { WAL2RABBIT_SOURCE_PLUGIN: 'test_decoding' }, /source\.plugin.*pgoutput/],
  ['YAML that is none', { WAL2RABBIT_ROUTES: '[{' }, /routes.*expected valid YAML/],
  ['a url of another scheme', { WAL2RABBIT_SOURCE_URL: 'mysql://u:c4nary@h/d' }, /source\.url.*postgres:\/\//],
  ['a broker url of another scheme', { WAL2RABBIT_SINK_URL: 'http://u:c4nary@h' }, /sink\.url.*amqps:\/\//],
  ['a password that breaks its url', { WAL2RABBIT_SOURCE_URL: 'postgres://u:c4nary/x@h/d' }, /percent-encode/],
  ['an sslmode that falls back', { WAL2RABBIT_SOURCE_URL: 'postgres://u:c4nary@h/d?sslmode=prefer' }, /plain text/],
  ['verify-ca without authority', { WAL2RABBIT_SOURCE_URL: 'postgres://h/d?sslmode=verify-ca' }, /sslrootcert/],
  ['a bad template', { WAL2RABBIT_SINK_ROUTING_KEY: '{agregate_type}.x' }, /sink\.routingKey.*template/],
  ['a bad template in a route', { WAL2RABBIT_ROUTES: '[{ routingKey: "{typ}" }]' }, /routes\[?\.?0.*template/],
  ['no urls', { WAL2RABBIT_SOURCE_URL: '', WAL2RABBIT_SINK_URL: '' }, /2 problems/],
])('%s ends every command with 2 and names the key', async (_, env, says) => {
  const all = { ...fine, ...env }
  const commands = ['init', 'check', 'status', 'checkpoints'].map((command) => runCommand([command], all))
  for (const { code, stdout, stderr } of await Promise.all([...commands, runCommand(['run'], all)])) {
    expect([code, stdout], stderr).toEqual([2, ''])
    expectClean(stderr)
    expectError(stderr, 'CONFIG_INVALID', says)
  }
})

test('a file with an unknown key, and one that is not there, end every command with 2', async () => {
  const folder = await temporaryFolder()
  const file = join(folder, 'bridge.yaml')
  await writeFile(file, 'sink:\n  heartbeet: 10s\n')
  for (const command of ['init', 'check', 'run', 'status', 'checkpoints']) {
    const [unknown, missing] = await Promise.all([
      runCommand([command, '--config', file], fine),
      runCommand([command, '--config', join(folder, 'none.yaml')], fine),
    ])
    expect([command, unknown.code, missing.code]).toEqual([command, 2, 2])
    expectError(unknown.stderr, 'CONFIG_INVALID', /bridge\.yaml:2.*did you mean/)
    expectError(missing.stderr, 'CONFIG_FILE_UNREADABLE', /none\.yaml/)
  }
})

test('a certificate that is not there is told with its path, and ends "run" with 2', async () => {
  const url = `${fine.WAL2RABBIT_SOURCE_URL}?sslmode=verify-full&sslrootcert=/none/ca.pem`
  const ofSource = { ...fine, WAL2RABBIT_SOURCE_URL: url }
  const ofSink = { ...fine, WAL2RABBIT_SINK_URL: 'amqps://u:c4nary@mq', WAL2RABBIT_SINK_TLS_CA: '/none/ca.pem' }
  for (const [command, env] of [
    ['init', ofSource],
    ['run', ofSource],
    ['run', ofSink],
  ] as const) {
    const { code, stderr } = await runCommand([command], env)
    expect(code, stderr).toBe(2)
    expectClean(stderr)
    expect(stderr).toMatch(/CONFIG_INVALID.*\/none\/ca\.pem/)
  }
})

test('an admin port in use ends "run" with 2 and names key, port and remedy', async () => {
  const { port } = await startGarbage('')
  const { code, stderr } = await runCommand(['run'], { ...fine, WAL2RABBIT_ADMIN_PORT: String(port) })
  expect(code).toBe(2)
  expectClean(stderr)
  expect(stderr).toMatch(new RegExp(`ADMIN_LISTEN_FAILED.*${port}.*"remedy":"Choose a free admin\\.port`))
})
