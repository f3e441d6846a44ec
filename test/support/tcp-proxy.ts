import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './services/ports.ts'
import { type FaultSettings, Flow } from './tcp-flow.ts'

export type Direction = 'to-server' | 'to-client'

export interface TcpProxy {
  readonly host: '127.0.0.1'
  readonly port: number
  /** Connections that both sides still hold. */
  connections(): number
  /** The same url with the proxy's host and port. */
  urlFor(url: string): string
  /**
   * From now on nothing passes in this direction, ends and resets neither: what is sent waits, as in a network that
   * drops packets, and arrives after `heal`. Default: both directions.
   */
  blackhole(direction?: Direction): void
  /** So many bytes a second pass on each connection; 0 ends it. */
  bandwidth(bytesPerSecond: number, direction?: Direction): void
  /** Ends black holes, latency, slicing and limits of bandwidth. */
  heal(): void
  /** Resets every connection, on both sides; what waited in a black hole is lost. */
  reset(): void
  /** Resets a connection as soon as so many more bytes of it have passed in this direction. */
  resetAfter(bytes: number, direction: Direction): void
  /** While on, nobody listens: connecting is refused. Connections that are open stay. */
  refuse(on: boolean): Promise<void>
  /** Each chunk arrives so many milliseconds later, in order; 0 ends it. */
  latency(milliseconds: number, direction?: Direction): void
  /** Writes at most so many bytes at once; 0 ends it. */
  slice(bytes: number, direction?: Direction): void
  /** Resets what is open and stops listening. */
  close(): Promise<void>
}

/** A TCP proxy on a free port of 127.0.0.1 in front of `target`, an url or host and port, that can misbehave on demand. */
export async function startTcpProxy(target: string | { host: string; port: number }): Promise<TcpProxy> {
  const { host, port } = typeof target === 'string' ? addressOf(target) : target
  const proxy = new FaultProxy(host, port, await freePort())
  await proxy.listen()
  return proxy
}

const defaultPorts: Readonly<Record<string, number>> = {
  'postgres:': 5432,
  'postgresql:': 5432,
  'amqp:': 5672,
  'amqps:': 5671,
}

function addressOf(url: string): { host: string; port: number } {
  const { hostname, port, protocol } = new URL(url)
  return { host: hostname, port: port === '' ? (defaultPorts[protocol] ?? 0) : Number(port) }
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  readonly flows: Readonly<Record<Direction, Flow>>
}

class FaultProxy implements TcpProxy {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly #target: { readonly host: string; readonly port: number }
  readonly #pairs = new Set<Pair>()
  readonly #settings: Readonly<Record<Direction, FaultSettings>> = { 'to-server': calm(), 'to-client': calm() }
  #listener: Server | undefined

  constructor(targetHost: string, targetPort: number, port: number) {
    this.#target = { host: targetHost, port: targetPort }
    this.port = port
  }

  async listen(): Promise<void> {
    const listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject)
      listener.listen(this.port, this.host, resolve)
    })
    this.#listener = listener
  }

  connections(): number {
    return this.#pairs.size
  }

  urlFor(url: string): string {
    const changed = new URL(url)
    changed.host = `${this.host}:${this.port}`
    return changed.href
  }

  blackhole(direction?: Direction): void {
    this.#change(direction, (settings) => {
      settings.blackhole = true
    })
  }

  heal(): void {
    this.#change(undefined, (settings) => Object.assign(settings, calm()))
  }

  reset(): void {
    for (const pair of this.#pairs) this.#resetPair(pair)
  }

  resetAfter(bytes: number, direction: Direction): void {
    this.#change(direction, (settings) => {
      settings.resetAfterBytes = bytes
    })
  }

  async refuse(on: boolean): Promise<void> {
    if (!on) {
      if (this.#listener === undefined) await this.listen()
      return
    }
    // Resolves only with the last connection: the listening socket itself is closed at once.
    this.#listener?.close()
    this.#listener = undefined
  }

  latency(milliseconds: number, direction?: Direction): void {
    this.#change(direction, (settings) => {
      settings.latencyMs = milliseconds
    })
  }

  slice(bytes: number, direction?: Direction): void {
    this.#change(direction, (settings) => {
      settings.sliceBytes = bytes
    })
  }

  bandwidth(bytesPerSecond: number, direction?: Direction): void {
    this.#change(direction, (settings) => {
      settings.bytesPerSecond = bytesPerSecond
    })
  }

  async close(): Promise<void> {
    await this.refuse(true)
    this.reset()
  }

  #accept(client: Socket): void {
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    client.setNoDelay(true)
    const pair: Pair = {
      client,
      server,
      flows: {
        'to-server': new Flow(client, server, this.#settings['to-server'], () => this.#resetPair(pair)),
        'to-client': new Flow(server, client, this.#settings['to-client'], () => this.#resetPair(pair)),
      },
    }
    this.#pairs.add(pair)
    const forget = (): void => {
      if (client.destroyed && server.destroyed) this.#pairs.delete(pair)
    }
    client.on('close', forget)
    server.on('close', forget)
  }

  #resetPair(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.resetAndDestroy()
    pair.server.resetAndDestroy()
  }

  #change(direction: Direction | undefined, change: (settings: FaultSettings) => void): void {
    for (const each of direction === undefined ? (['to-server', 'to-client'] as const) : [direction]) {
      change(this.#settings[each])
      for (const pair of this.#pairs) pair.flows[each].settingsChanged()
    }
  }
}

function calm(): FaultSettings {
  return { blackhole: false, latencyMs: 0, sliceBytes: 0, bytesPerSecond: 0, resetAfterBytes: undefined }
}
