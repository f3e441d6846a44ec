import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer as createPlainServer, type Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { type AmqpConnection, BrokerDialer, type BrokerOptions } from '../../src/sink/amqp-connection.ts'
import { type CertificateOptions, makeCertificates } from '../support/certificates.ts'
import { testBroker } from './broker.ts'

async function dial(urls: readonly string[], options: Partial<BrokerOptions> = {}): Promise<AmqpConnection> {
  const connection = await new BrokerDialer({ urls: async () => urls, ...options }).dial()
  onTestFinished(() => connection.close())
  return connection
}

/** The broker behind a TLS listener of our own, on localhost. */
async function tlsBroker(options: CertificateOptions = {}, tls: TlsOptions = {}) {
  const { url } = await testBroker()
  const paths = await makeCertificates(options)
  const [ca, cert, key, otherCa] = await Promise.all(
    [paths.ca, paths.cert, paths.key, paths.otherCa].map((path) => readFile(path)),
  )
  const clients: TLSSocket[] = []
  const server = createServer({ cert: cert!, key: key!, ...tls }, (client) => {
    clients.push(client)
    const { hostname, port } = new URL(url)
    const upstream = connect(Number(port || 5672), hostname)
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy())
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const secure = new URL(url.replace('amqp:', 'amqps:'))
  secure.host = `localhost:${(server.address() as AddressInfo).port}`
  return { clients, url: secure.href, ca: ca!, cert: cert!, key: key!, otherCa: otherCa! }
}

test('the broker shows name, product and version of the connection', async () => {
  const { url, ctl } = await testBroker()
  const connectionName = `sink-test-${process.pid}`
  await dial([url], { connectionName, version: '9.9.9' })
  const listed = await ctl('-q', 'list_connections', 'client_properties')
  const line = listed.split('\n').find((text) => text.includes(connectionName))
  expect(line).toContain('"product","wal2rabbit"')
  expect(line).toContain('"version","9.9.9"')
})

test('a password in UTF-8 with reserved characters logs in', async () => {
  const { url, ctl, user } = await testBroker()
  const { name } = await user({})
  await ctl('change_password', name, 'p@ß/wörd:%')
  const login = new URL(url)
  login.username = name
  login.password = encodeURIComponent('p@ß/wörd:%')
  await dial([login.href])
})

test('frames are as large as the broker takes them', async () => {
  const { url } = await testBroker()
  const { frameMax } = await dial([url])
  expect(frameMax).toBe(131_072)
})

test('TLS is verified against the authority that is given', async () => {
  const broker = await tlsBroker()
  const { socket } = await dial([broker.url], { tls: { ca: broker.ca } })
  expect(socket).toMatchObject({ encrypted: true, authorized: true })
})

test.each([
  ['another authority', {}, 'SINK_TLS_FAILED'],
  ['another name', { names: 'DNS:elsewhere.example' }, 'SINK_TLS_FAILED'],
  ['a certificate that ran out', { expired: true }, 'SINK_TLS_FAILED'],
] as const)('TLS with %s is refused', async (name, certificate, code) => {
  const broker = await tlsBroker(certificate)
  const ca = name === 'another authority' ? broker.otherCa : broker.ca
  await expect(dial([broker.url], { tls: { ca } })).rejects.toMatchObject({ code })
  await expect(dial([broker.url])).rejects.toMatchObject({ code })
})

test('TLS goes on with another name, or unverified, only when asked to', async () => {
  const broker = await tlsBroker({ names: 'DNS:elsewhere.example' })
  await dial([broker.url], { tls: { ca: broker.ca, serverName: 'elsewhere.example' } })
  await dial([broker.url], { tls: { verify: false } })
})

test('a client certificate is shown where the server asks for one', async () => {
  const broker = await tlsBroker({}, { requestCert: true, rejectUnauthorized: false })
  // The server's own certificate serves as the client's: it is only looked whether it was shown.
  await dial([broker.url], { tls: { ca: broker.ca, cert: broker.cert, key: broker.key } })
  expect(broker.clients.map((client) => client.getPeerCertificate().subject.CN)).toEqual(['wal2rabbit test'])
})

test('amqps to a plain port never goes on in plain text', async () => {
  const { url } = await testBroker()
  const { host } = new URL(url)
  await expect(dial([`amqps://guest:guest@${host}`])).rejects.toMatchObject({ code: 'SINK_TLS_FAILED' })
})

test('a key that is no key is a TLS failure', async () => {
  const broker = await tlsBroker()
  const tls = { ca: broker.ca, cert: 'not a certificate', key: 'not a key' }
  await expect(dial([broker.url], { tls })).rejects.toMatchObject({ code: 'SINK_TLS_FAILED' })
})

test('a server that says nothing is given up in time', async () => {
  const sockets: Socket[] = []
  const silent = createPlainServer((socket) => sockets.push(socket.on('error', () => undefined).resume()))
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void silent.close())
  const { port } = silent.address() as AddressInfo
  const attempt = dial([`amqp://127.0.0.1:${port}`], { connectTimeout: 100 })
  await expect(attempt).rejects.toMatchObject({
    code: 'SINK_UNREACHABLE',
    message: `cannot connect to amqp://127.0.0.1:${port}: ETIMEDOUT after 100 ms`,
  })
  await Promise.all(sockets.map((socket) => socket.destroyed || new Promise((resolve) => socket.on('close', resolve))))
})

test('each attempt begins with the next url, and the failure to be mended counts more than the others', async () => {
  const { url } = await testBroker()
  const wrong = new URL(url)
  wrong.password = 'wrong'
  const dialer = new BrokerDialer({ urls: async () => [wrong.href, 'amqp://127.0.0.1:1'] })
  await expect(dialer.dial()).rejects.toMatchObject({ code: 'SINK_AUTH_FAILED' })
  await expect(dialer.dial()).rejects.toMatchObject({ code: 'SINK_AUTH_FAILED' })
  await dial(['amqp://127.0.0.1:1', url])
  await expect(dial([])).rejects.toMatchObject({ code: 'SINK_UNREACHABLE' })
})
