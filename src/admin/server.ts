import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BridgeError } from '../base/errors.ts'
import { type Page, type PageOptions, pageFor } from './pages.ts'

interface AdminOptions extends PageOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  /** Told when a connection cannot be accepted (no file descriptors left) or answered; the server stays up. */
  readonly onError?: (error: Error) => void
}

export interface AdminServer {
  /** Where it listens: `http://127.0.0.1:8090`. */
  readonly address: string
  /** Stops listening; answers under way get a moment, then every connection is closed. Idempotent, never rejects. */
  close(): Promise<void>
}

const requestTimeout_ms = 5_000
const closeGrace_ms = 250
const connectionsMax = 64
const headerSizeMax_bytes = 8 * 1024

/** Serves liveness, readiness, metrics and status. Rejects with ADMIN_LISTEN_FAILED when the address is not to be had. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const server = createAdminServer(options)
  try {
    server.listen({ host: options.host, port: options.port })
    await once(server, 'listening')
  } catch (error) {
    throw listenFailure(options, error)
  }
  server.on('error', (error) => options.onError?.(error))
  let closing: Promise<void> | undefined
  return {
    address: addressOf(server),
    close() {
      closing ??= closeServer(server)
      return closing
    },
  }
}

function createAdminServer(options: AdminOptions): Server {
  const limits = {
    headersTimeout: requestTimeout_ms,
    requestTimeout: requestTimeout_ms,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: headerSizeMax_bytes,
  }
  const server = createServer(limits, (request, response) => {
    // No page reads a body; one that comes is passed over, and the connection closed with the answer.
    request.resume()
    pageFor(request.method ?? 'GET', request.url ?? '/', options)
      .then((page) => answer(response, page))
      .catch((error: Error) => {
        options.onError?.(error)
        response.destroy()
      })
  })
  server.maxConnections = connectionsMax
  // A peer that sends its request and never reads the answer is covered by no other timeout.
  server.setTimeout(2 * requestTimeout_ms)
  return server
}

/** Node leaves the body out where the request was HEAD. */
function answer(response: ServerResponse, page: Page): void {
  response.writeHead(page.status, {
    'Content-Type': page.contentType,
    'Content-Length': Buffer.byteLength(page.body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // A scrape every few seconds gains nothing from keep-alive, and a shutdown would have to wait for it.
    Connection: 'close',
    ...(page.allow === undefined ? {} : { Allow: page.allow }),
  })
  response.end(page.body)
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), closeGrace_ms)
    server.close(() => {
      clearTimeout(force)
      resolve()
    })
  })
}

function addressOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

const listenProblems: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use by another process',
  EACCES: 'this user may not listen on the port',
  EADDRNOTAVAIL: 'the host is no address of this machine',
  ENOTFOUND: 'the host name does not resolve',
}

function listenFailure({ host, port }: AdminOptions, cause: unknown): BridgeError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no code'
  const problem = listenProblems[code] ?? (cause instanceof Error ? cause.message : String(cause))
  return new BridgeError(
    'ADMIN_LISTEN_FAILED',
    `cannot listen on admin.host ${host}, admin.port ${port}: ${problem} (${code}; expected a free address)`,
    { cause },
  )
}
