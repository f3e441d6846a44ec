import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { onTestFinished } from 'vitest'

/** Something on a port that is not the server which a client believes to have found. */
export interface Impostor {
  readonly port: number
  /** Every byte that came in as it was on the wire, all connections one after the other. */
  readonly received: () => Buffer
  /** Every byte that came out of TLS: what a client trusted it with. */
  readonly trusted: () => Buffer
}

interface Certificate {
  readonly cert: string
  readonly key: string
}

const sslRequest_bytes = 8

/** Answers the first bytes of each connection with `answer`, whatever they are, and says nothing more. */
export function startGarbage(answer: string): Promise<Impostor> {
  return listen((socket, record) => {
    socket.on('data', record)
    socket.once('data', () => socket.write(answer))
  })
}

/** Greets each connection with `greeting`, as MySQL and SMTP servers do, and says nothing more. */
export function startGreeter(greeting: Buffer): Promise<Impostor> {
  return listen((socket, record) => {
    socket.on('data', record)
    socket.write(greeting)
  })
}

/** Agrees to TLS as PostgreSQL does, with a certificate of its own. */
export function startPostgresTls(certificate: Certificate): Promise<Impostor> {
  return listen((socket, record, trust) => {
    socket.once('data', (data: Buffer) => {
      record(data)
      socket.pause()
      if (data.length !== sslRequest_bytes) return
      socket.write('S')
      terminateTls(socket, certificate, trust)
    })
  })
}

/** Expects TLS from the first byte on, as AMQPS does, with a certificate of its own. */
export function startAmqpTls(certificate: Certificate): Promise<Impostor> {
  return listen((socket, _record, trust) => terminateTls(socket, certificate, trust))
}

function terminateTls(socket: Socket, { cert, key }: Certificate, trust: (data: Buffer) => void): void {
  const secure = new TLSSocket(socket, { isServer: true, cert: readFileSync(cert), key: readFileSync(key) })
  secure.on('data', trust)
  // The client hangs up on us: that is what we are here for.
  secure.on('error', () => socket.destroy())
}

async function listen(
  serve: (socket: Socket, record: (data: Buffer) => void, trust: (data: Buffer) => void) => void,
): Promise<Impostor> {
  const received: Buffer[] = []
  const trusted: Buffer[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    serve(
      socket,
      (data) => received.push(data),
      (data) => trusted.push(data),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  return { port, received: () => Buffer.concat(received), trusted: () => Buffer.concat(trusted) }
}
