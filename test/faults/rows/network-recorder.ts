import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Certificates } from '../../support/certificates.ts'
import type { Rig } from '../rig/rig.ts'

/** A proxy that keeps what clients send, as it is on the wire. */
export class Recorder {
  readonly port: number
  readonly #sent: Buffer[][]

  private constructor(port: number, sent: Buffer[][]) {
    this.port = port
    this.#sent = sent
  }

  static async start(rig: Rig, target: number): Promise<Recorder> {
    const sent: Buffer[][] = []
    const port = await listen(rig, (client) => {
      const chunks: Buffer[] = []
      sent.push(chunks)
      const server = connect({ host: '127.0.0.1', port: target, noDelay: true })
      client.on('data', (chunk: Buffer) => chunks.push(chunk))
      client.on('close', () => server.destroy())
      server.on('close', () => client.destroy())
      server.on('error', () => client.destroy())
      client.pipe(server).pipe(client)
    })
    return new Recorder(port, sent)
  }

  /** Of each connection. */
  sent(): Buffer[] {
    return this.#sent.map((chunks) => Buffer.concat(chunks))
  }
}

export interface Impostor {
  readonly port: number
  /** What came out of TLS: what a client trusted it with. */
  trusted(): Buffer
  /** What came in, of each connection, before or instead of TLS. */
  sent(): Buffer[]
}

/**
 * In the place of a server: with TLS and an expired certificate, at once (`amqps`) or as PostgreSQL agrees to it; or, to
 * `refuse`, as a PostgreSQL that has no TLS.
 */
export async function startExpired(
  rig: Rig,
  { cert, key }: Certificates,
  kind: 'postgres' | 'amqps' | 'refuse',
): Promise<Impostor> {
  const trusted: Buffer[] = []
  const sent: Buffer[] = []
  const encrypt = (socket: Socket): void => {
    const secure = new TLSSocket(socket, { isServer: true, cert: readFileSync(cert), key: readFileSync(key) })
    secure.on('data', (data) => trusted.push(data))
    // The client hangs up: that is what it is here for.
    secure.on('error', () => socket.destroy())
  }
  const port = await listen(rig, (socket) => {
    if (kind === 'amqps') return encrypt(socket)
    socket.once('data', (request: Buffer) => {
      const first = sent.push(request) - 1
      if (kind === 'refuse') {
        socket.on('data', (more: Buffer) => {
          sent[first] = Buffer.concat([request, more])
        })
        socket.write('N')
        return
      }
      socket.pause()
      socket.write('S')
      encrypt(socket)
    })
  })
  return { port, trusted: () => Buffer.concat(trusted), sent: () => sent }
}

async function listen(rig: Rig, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  rig.onCleanup(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address: AddressInfo | string | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
