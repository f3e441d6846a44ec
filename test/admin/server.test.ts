import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { LatencyHistogram } from '../../src/admin/latency-histogram.ts'
import { createMetrics } from '../../src/admin/metrics.ts'
import { type AdminServer, startAdmin } from '../../src/admin/server.ts'
import { type BridgeState, bridgeStates, type Status, type StatusProvider } from '../../src/admin/status.ts'
import { BridgeError } from '../../src/base/errors.ts'
import { SeededRandom } from '../support/seeded-random.ts'
import { parseExposition } from './exposition.ts'
import { sampleStatus } from './sample-status.ts'

const password = 's3c"ret\\pass'
const reason = { code: 'SLOT_MISSING', message: 'the slot "wal2rabbit" is missing', remedy: 'Run "wal2rabbit init".' }
const servers: AdminServer[] = []

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()))
})

async function serve(provider: StatusProvider = () => sampleStatus(), port = 0): Promise<AdminServer> {
  const server = await startAdmin({
    host: '127.0.0.1',
    port,
    provider,
    metrics: createMetrics({ provider, confirmLatency: new LatencyHistogram() }),
    scrub: (text) => text.replaceAll(password, '***'),
  })
  servers.push(server)
  return server
}

async function inState(state: BridgeState): Promise<AdminServer> {
  return serve(() => sampleStatus({ state, reason: state === 'streaming' ? null : reason }))
}

/** Sends raw bytes and gives all that came back until the server closed the connection. */
async function raw(server: AdminServer, bytes: string | Buffer): Promise<string> {
  const socket = connect(Number(new URL(server.address).port), '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  // the server may close while garbage is still on its way: a reset is an answer too
  socket.on('error', () => socket.destroy())
  socket.end(bytes)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString('latin1')
}

test.each(bridgeStates)(
  'in state %s it is alive, tells its status, and is ready only when streaming or standby',
  async (state) => {
    const { address } = await inState(state)
    expect((await fetch(`${address}/livez`)).status).toBe(200)
    const ready = await fetch(`${address}/readyz`)
    expect(ready.status).toBe(state === 'streaming' || state === 'standby' ? 200 : 503)
    const body = (await ready.json()) as { ready: boolean; state: string; reason: unknown }
    expect(body.state).toBe(state)
    expect(body.reason).toEqual(state === 'streaming' ? null : reason)
    const status = (await (await fetch(`${address}/api/status`)).json()) as Status
    expect(status).toEqual(sampleStatus({ state, reason: state === 'streaming' ? null : reason }))
    const metrics = await fetch(`${address}/metrics`)
    expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(parseExposition(await metrics.text()).get(`wal2rabbit_state{state="${state}"}`)).toBe(1)
  },
)

test('liveness answers even while the status cannot be read, and the other pages say why', async () => {
  const { address } = await serve(() => {
    throw new BridgeError('UNKNOWN', `no status for ${password}`)
  })
  expect((await fetch(`${address}/livez`)).status).toBe(200)
  for (const path of ['/readyz', '/metrics', '/api/status']) {
    const answer = await fetch(`${address}${path}`)
    expect(answer.status).toBe(500)
    expect(await answer.json()).toMatchObject({ reason: { code: 'UNKNOWN', message: 'no status for ***' } })
  }
})

test('HEAD answers as GET does, without the body', async () => {
  const { address } = await inState('halted')
  for (const [path, status] of [
    ['/livez', 200],
    ['/readyz', 503],
    ['/metrics', 200],
    ['/api/status', 200],
  ] as const) {
    const answer = await fetch(`${address}${path}`, { method: 'HEAD' })
    expect(answer.status).toBe(status)
    expect(Number(answer.headers.get('content-length'))).toBeGreaterThan(0)
    expect(await answer.text()).toBe('')
  }
})

test('an unknown page is a 404 that lists the pages and does not repeat the path', async () => {
  const { address } = await serve()
  const answer = await fetch(`${address}/readyz/canary?canary`)
  expect(answer.status).toBe(404)
  const text = await answer.text()
  expect(text).toContain('/api/status')
  expect(text).not.toContain('canary')
})

test('a query string does not hide a page', async () => {
  const { address } = await serve()
  expect((await fetch(`${address}/livez?probe=1`)).status).toBe(200)
})

test.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('%s is refused with 405 and the methods allowed', async (method) => {
  const { address } = await serve()
  const answer = await fetch(`${address}/api/status`, {
    method,
    ...(method === 'POST' ? { body: 'x'.repeat(1e6) } : {}),
  })
  expect(answer.status).toBe(405)
  expect(answer.headers.get('allow')).toBe('GET, HEAD')
  expect(await answer.json()).toMatchObject({ error: 'method not allowed' })
})

test('a secret is in no body, not even in the escaped form that JSON gives it', async () => {
  const { slot, checkpoint } = sampleStatus()
  const { address } = await serve(() =>
    sampleStatus({
      state: 'retrying',
      reason: { code: 'SINK_AUTH_FAILED', message: `refused: ${password}`, remedy: `mend ${password}` },
      slot: { ...slot, name: password, publication: password, table: password, plugin: password, walStatus: password },
      checkpoint: { ...checkpoint, owner: password },
    }),
  )
  for (const path of ['/livez', '/readyz', '/metrics', '/api/status']) {
    const text = await (await fetch(`${address}${path}`)).text()
    expect(text).not.toContain('s3c')
  }
})

test('a password that is part of a metric name spoils no name', async () => {
  const provider = () => sampleStatus()
  const metrics = createMetrics({ provider, confirmLatency: new LatencyHistogram() })
  const scrub = (text: string) => text.replaceAll('rabbit', '***')
  const server = await startAdmin({ host: '127.0.0.1', port: 0, provider, metrics, scrub })
  servers.push(server)
  expect(await (await fetch(`${server.address}/metrics`)).text()).toContain('wal2rabbit_events_confirmed_total 23')
})

test('a port in use is ADMIN_LISTEN_FAILED and names key, value and remedy', async () => {
  const port = Number(new URL((await serve()).address).port)
  const failure = await serve(undefined, port).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(BridgeError)
  expect(failure).toMatchObject({
    code: 'ADMIN_LISTEN_FAILED',
    message: `cannot listen on admin.host 127.0.0.1, admin.port ${port}: the port is in use by another process (EADDRINUSE; expected a free address)`,
    remedy: 'Choose a free admin.port, or 0 for any.',
  })
})

test('garbage bytes get an error or a closed connection, and the server goes on', async () => {
  const server = await serve()
  const random = new SeededRandom(4711)
  const starts = [
    '',
    'GET ',
    'GET /livez HTTP/1.1\r\n',
    'GET /livez HTTP/9.9\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\n',
    '\x16\x03\x01',
  ]
  for (let i = 0; i < 120; i++) {
    const noise = Buffer.from(Array.from({ length: random.between(0, 400) }, () => random.between(0, 255)))
    const answer = await raw(server, Buffer.concat([Buffer.from(starts[i % starts.length]!, 'latin1'), noise]))
    if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 [45]\d\d /)
  }
  expect((await fetch(`${server.address}/livez`)).status).toBe(200)
})

test.each([
  ['an absolute url of another host', 'GET http://example.test/livez HTTP/1.1\r\nHost: a\r\n\r\n', '404'],
  ['a path that is no url', 'GET //[:::/%zz HTTP/1.1\r\nHost: a\r\n\r\n', '404'],
  ['headers over the limit', `GET /livez HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(10_000)}\r\n\r\n`, '431'],
  ['an upgrade', 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', '200'],
  ['two lengths', 'GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', '400'],
])('%s is answered', async (_name, request, status) => {
  expect(await raw(await serve(), request)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
})

test('no connection is kept for another request, even when the peer asks for it', async () => {
  const request = 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n'
  const answers = await raw(await serve(), request + request)
  expect(answers.match(/HTTP\/1\.1 200 /g)).toHaveLength(1)
})

test('close() waits neither for an idle connection nor for half a request, and may be called twice', async () => {
  const server = await serve()
  const port = Number(new URL(server.address).port)
  const silent = connect(port, '127.0.0.1')
  const half = connect(port, '127.0.0.1')
  for (const socket of [silent, half]) socket.on('error', () => socket.destroy())
  await Promise.all([once(silent, 'connect'), once(half, 'connect')])
  half.write('GET /livez HTTP/1.1\r\nHost')
  await fetch(`${server.address}/livez`, { headers: { connection: 'keep-alive' } })
  const gone = Promise.all([once(silent, 'close'), once(half, 'close')])
  const start = performance.now()
  await Promise.all([server.close(), server.close()])
  expect(performance.now() - start).toBeLessThan(1_000)
  await gone
  await expect(fetch(`${server.address}/livez`)).rejects.toThrow()
})
