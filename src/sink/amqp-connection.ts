import type { Socket } from 'node:net'
import { type Channel, type ChannelModel, type ConfirmChannel, connect, credentials } from 'amqplib'
import { BridgeError } from '../base/errors.ts'
import { type BrokerAddress, parseBrokerUrl } from './broker-address.ts'
import { connectFailure } from './failure.ts'

/** TLS of amqps urls. Certificates and keys are PEM texts, not paths. */
export interface BrokerTls {
  readonly ca?: string | Buffer | undefined
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  readonly passphrase?: string | undefined
  /** The name that the certificate must have; the url's host when absent. */
  readonly serverName?: string | undefined
  /** False trusts any certificate. */
  readonly verify?: boolean | undefined
}

export interface BrokerOptions {
  /** Asked anew for each attempt, so that a rotated password is seen. */
  readonly urls: () => Promise<readonly string[]>
  readonly tls?: BrokerTls | undefined
  /** Milliseconds, in effect whole seconds; default 10 s. */
  readonly heartbeat?: number | undefined
  /** Milliseconds for each url; default 10 s. */
  readonly connectTimeout?: number | undefined
  /** Shown by RabbitMQ's management; default `wal2rabbit`. */
  readonly connectionName?: string | undefined
  readonly version?: string | undefined
}

const defaultTimeout = 10_000 // milliseconds
const closeTimeout = 1000 // milliseconds

/** One connection with its socket. Its listeners are always attached: an `error` that nobody hears ends the process. */
export class AmqpConnection {
  readonly endpoint: string
  /** Resolves once, at the first sign that the connection is over, with its error if there was one. */
  readonly ended: Promise<unknown>
  readonly socket: Socket
  /** The largest frame in bytes, as negotiated. */
  readonly frameMax: number
  readonly #model: ChannelModel
  readonly #lost: Promise<never>
  #end!: (cause: unknown) => void

  constructor(model: ChannelModel, endpoint: string) {
    this.endpoint = endpoint
    this.#model = model
    // Not part of amqplib's types: the test of this file fails when an upgrade moves it.
    const { stream, frameMax } = model.connection as unknown as { stream: Socket; frameMax: number }
    this.socket = stream
    this.frameMax = frameMax
    this.ended = new Promise((resolve) => {
      this.#end = resolve
      model.on('error', resolve)
      model.on('close', resolve)
    })
    this.#lost = this.ended.then((cause) => {
      throw cause ?? new Error('connection closed')
    })
    this.#lost.catch(() => undefined) // who waits for something has it from whileOpen()
  }

  onBlocked(listener: (reason: string | undefined) => void): void {
    this.#model.on('blocked', (reason) => listener(reason))
    this.#model.on('unblocked', () => listener(undefined))
  }

  async openChannel(): Promise<Channel> {
    return heard(await this.#model.createChannel())
  }

  async openConfirmChannel(): Promise<ConfirmChannel> {
    return heard(await this.#model.createConfirmChannel())
  }

  /** As `work`, but rejects when the connection ends first: amqplib then never answers a channel's close(). */
  whileOpen<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#lost])
  }

  /** Says goodbye for at most a second, then lets the socket go. Never rejects. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, closeTimeout)
    })
    // A rejection means that it is closed already, which is what was asked for.
    await Promise.race([this.#model.close().catch(() => undefined), late])
    clearTimeout(timer)
    this.destroy()
  }

  /** Lets the socket go at once. With an error, as amqplib would miss a silent end until the next heartbeat. */
  destroy(): void {
    const error = new Error('connection given up')
    this.socket.destroy(error)
    this.#end(error)
  }
}

function heard<C extends Channel>(channel: C): C {
  // Failed operations reject as well; whoever publishes listens for itself.
  channel.on('error', () => undefined)
  return channel
}

/** Opens connections: the urls in turn, each call starting behind the one that was tried first before. */
export class BrokerDialer {
  readonly #options: BrokerOptions
  #start = 0

  constructor(options: BrokerOptions) {
    this.#options = options
  }

  /** Rejects with the BridgeError that an operator must act on, if any url gave one, else with the last. */
  async dial(signal?: AbortSignal): Promise<AmqpConnection> {
    const urls = await abortable(this.#options.urls(), signal)
    const start = this.#start++
    let failure: BridgeError | undefined
    for (let i = 0; i < urls.length && signal?.aborted !== true; i++) {
      try {
        return await open(parseBrokerUrl(urls[(start + i) % urls.length]!), this.#options, signal)
      } catch (error) {
        const next = connectFailure(error, 'the broker')
        if (failure?.action !== 'halt-retry') failure = next
      }
    }
    throw failure ?? new BridgeError('SINK_UNREACHABLE', `no broker to connect to: ${urls.length} urls given`)
  }
}

/** As `promise`, but rejects as soon as `signal` says stop: reading a secret may hang. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  let abort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

async function open(address: BrokerAddress, options: BrokerOptions, stop?: AbortSignal): Promise<AmqpConnection> {
  const timeout = options.connectTimeout ?? defaultTimeout
  // Its own signal, as one that outlived the attempt would cut the open connection.
  const attempt = new AbortController()
  let expired = false
  const timer = setTimeout(() => {
    expired = true
    attempt.abort()
  }, timeout)
  const abort = () => attempt.abort()
  stop?.addEventListener('abort', abort, { once: true })
  try {
    const model = await connect(
      {
        protocol: address.secure ? 'amqps' : 'amqp',
        hostname: address.host,
        port: address.port,
        vhost: address.vhost,
        heartbeat: Math.max(1, Math.round((options.heartbeat ?? defaultTimeout) / 1000)),
        frameMax: 131_072,
      },
      socketOptions(address, options, attempt.signal),
    )
    return new AmqpConnection(model, address.endpoint)
  } catch (error) {
    throw connectFailure(expired ? new Error(`ETIMEDOUT after ${timeout} ms`) : error, address.endpoint)
  } finally {
    clearTimeout(timer)
    stop?.removeEventListener('abort', abort)
  }
}

function socketOptions(address: BrokerAddress, options: BrokerOptions, signal: AbortSignal) {
  const { connectionName = 'wal2rabbit', version } = options
  return {
    noDelay: true,
    keepAlive: true,
    // The first is read by net.connect, the second by tls.connect.
    signal,
    // As given: amqplib's own reading of a url takes percent-encoded UTF-8 for Latin-1.
    credentials: credentials.plain(address.username, address.password),
    clientProperties: {
      connection_name: connectionName,
      product: 'wal2rabbit',
      ...(version !== undefined && { version }),
    },
    ...tlsOptions(address, options.tls),
  }
}

function tlsOptions(address: BrokerAddress, tls: BrokerTls | undefined) {
  if (!address.secure || tls === undefined) return {}
  return {
    ...(tls.ca !== undefined && { ca: tls.ca }),
    ...(tls.cert !== undefined && { cert: tls.cert }),
    ...(tls.key !== undefined && { key: tls.key }),
    ...(tls.passphrase !== undefined && { passphrase: tls.passphrase }),
    ...(tls.serverName !== undefined && { servername: tls.serverName }),
    rejectUnauthorized: tls.verify !== false,
  }
}
