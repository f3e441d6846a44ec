import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A server that sends back what it gets, and how many of its connections are open. */
async function startEcho(): Promise<{ port: number; open: Set<Socket> }> {
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, open }
}

async function startAll(): Promise<{ proxy: TcpProxy; client: Socket; open: Set<Socket> }> {
  const echo = await startEcho()
  const proxy = await startTcpProxy({ host: '127.0.0.1', port: echo.port })
  cleanups.push(() => proxy.close())
  const client = connect(proxy.port, proxy.host)
  cleanups.push(() => client.destroy())
  await once(client, 'connect')
  return { proxy, client, open: echo.open }
}

async function read(client: Socket, bytes: number): Promise<string> {
  let text = ''
  while (text.length < bytes) {
    const [chunk] = (await once(client, 'data')) as [Buffer]
    text += chunk.toString()
  }
  return text
}

test('passes bytes both ways, and the end of either side', async () => {
  const { proxy, client } = await startAll()
  client.write('hello')
  expect(await read(client, 5)).toBe('hello')
  expect(proxy.connections()).toBe(1)
  client.end()
  await once(client, 'close')
  await expect.poll(() => proxy.connections()).toBe(0)
})

test('a black hole holds bytes back until it heals', async () => {
  const { proxy, client } = await startAll()
  proxy.blackhole('to-client')
  client.write('held')
  const early = await Promise.race([read(client, 4), delay(50, 'silent')])
  expect(early).toBe('silent')
  const late = read(client, 4)
  proxy.heal()
  expect(await late).toBe('held')
})

test('a black hole hides that the client is gone', async () => {
  const { proxy, client, open } = await startAll()
  client.write('x')
  await read(client, 1)
  proxy.blackhole()
  client.destroy()
  await delay(50)
  expect(open.size).toBe(1)
  proxy.heal()
  await expect.poll(() => open.size).toBe(0)
})

test('a reset reaches both sides', async () => {
  const { proxy, client, open } = await startAll()
  client.write('x')
  await read(client, 1)
  proxy.reset()
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNRESET')
  await expect.poll(() => open.size).toBe(0)
})

test('a reset after so many bytes lets exactly those pass', async () => {
  const { proxy, client } = await startAll()
  proxy.resetAfter(3, 'to-client')
  let received = ''
  client.on('data', (chunk) => {
    received += chunk.toString()
  })
  client.write('abcdef')
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNRESET')
  expect(received).toBe('abc')
})

test('refusing closes the door and leaves who is inside', async () => {
  const { proxy, client } = await startAll()
  await proxy.refuse(true)
  const refused = connect(proxy.port, proxy.host)
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNREFUSED')
  client.write('still')
  expect(await read(client, 5)).toBe('still')
  await proxy.refuse(false)
  const admitted = connect(proxy.port, proxy.host)
  await once(admitted, 'connect')
  admitted.destroy()
})

test('latency delays each chunk and keeps their order', async () => {
  const { proxy, client } = await startAll()
  proxy.latency(40, 'to-server')
  const start = Date.now()
  client.write('a')
  client.write('b')
  expect(await read(client, 2)).toBe('ab')
  expect(Date.now() - start).toBeGreaterThanOrEqual(39)
})

test('slices keep every byte', async () => {
  const { proxy, client } = await startAll()
  proxy.slice(1)
  const text = 'sliced '.repeat(200)
  client.write(text)
  expect(await read(client, text.length)).toBe(text)
})

test('a server that is not there resets the client', async () => {
  const proxy = await startTcpProxy({ host: '127.0.0.1', port: 1 })
  cleanups.push(() => proxy.close())
  const client = connect(proxy.port, proxy.host)
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNRESET')
})

test('an url keeps all but its host and port', async () => {
  const proxy = await startTcpProxy('amqp://guest:guest@127.0.0.1/%2f')
  cleanups.push(() => proxy.close())
  expect(proxy.urlFor('amqp://guest:guest@broker:5672/%2f?heartbeat=5')).toBe(
    `amqp://guest:guest@127.0.0.1:${proxy.port}/%2f?heartbeat=5`,
  )
})

test('a limited bandwidth lets so many bytes pass in a second, in order', async () => {
  const { proxy, client } = await startAll()
  proxy.bandwidth(10_000, 'to-client')
  const text = Array.from({ length: 500 }, (_, n) => String(n).padStart(4, '0')).join('')
  const begun = performance.now()
  client.write(text)
  expect(await read(client, 2000)).toBe(text)
  expect(performance.now() - begun).toBeGreaterThan(150)
  proxy.heal()
  client.write(text.repeat(50))
  await read(client, 100_000)
})
