import { createRequire } from 'node:module'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'

type Fields = Record<string, unknown>
interface Frame {
  readonly id?: number
  readonly channel: number
  readonly size?: number
  readonly fields: Fields
  readonly content?: Buffer
}

/** amqplib's own codec: not exported, and here the other side of the same wire. */
interface Codec {
  readonly ids: Readonly<Record<string, number>>
  encodeMethod(id: number, channel: number, fields: Fields): Buffer
  encodeProperties(id: number, channel: number, size: number, fields: Fields): Buffer
  parseFrame(bytes: Buffer, max: number): { rest: Buffer } | false
  decodeFrame(parsed: { rest: Buffer }): Frame
  makeBodyFrame(channel: number, payload: Buffer): Buffer
}

const codec = loadCodec()
const { ids } = codec

function loadCodec(): Codec {
  const require = createRequire(import.meta.url)
  const lib = join(dirname(require.resolve('amqplib')), 'lib')
  const defs = require(join(lib, 'defs.js'))
  return { ...require(join(lib, 'frame.js')), ids: defs, ...pick(defs, 'encodeMethod', 'encodeProperties') }
}

function pick(source: Record<string, unknown>, ...names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, source[name]]))
}

/** One publish as it arrived. `tag` counts from 1 on its channel. */
export interface FakePublish {
  readonly connection: FakeConnection
  readonly channel: number
  readonly tag: number
  readonly exchange: string
  readonly routingKey: string
  readonly properties: Fields
  readonly body: Buffer
}

/** What a test scripts; without it publishes stay unanswered. */
export interface FakeAmqpScript {
  onPublish?(publish: FakePublish): void
  /** Each method that comes in, by its name as in `BasicPublish`; true when the script has answered it. */
  onMethod?(name: string, fields: Fields, connection: FakeConnection): boolean
}

/** A broker that speaks just enough AMQP 0-9-1 to be published to, and otherwise does what the test says. */
export class FakeAmqpServer {
  readonly connections: FakeConnection[] = []
  readonly publishes: FakePublish[] = []
  script: FakeAmqpScript
  readonly #server: Server
  #waiters: { condition: () => boolean; resolve: () => void }[] = []

  constructor(server: Server, script: FakeAmqpScript) {
    this.#server = server
    this.script = script
    server.on('connection', (socket) => {
      this.connections.push(new FakeConnection(socket, this))
      this.changed()
    })
  }

  static async start(script: FakeAmqpScript = {}): Promise<FakeAmqpServer> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new FakeAmqpServer(server, script)
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get last(): FakeConnection {
    return this.connections.at(-1)!
  }

  /** Resolves when the condition holds; looked at after everything that comes in. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ condition, resolve })
      this.changed()
    })
  }

  published(count: number): Promise<void> {
    return this.until(() => this.publishes.length >= count)
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  received(publish: FakePublish): void {
    this.publishes.push(publish)
    this.script.onPublish?.(publish)
    this.changed()
  }

  changed(): void {
    const due = this.#waiters.filter(({ condition }) => condition())
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter))
    for (const { resolve } of due) resolve()
  }
}

const replies: Readonly<Record<string, readonly [string, Fields]>> = {
  ConnectionStartOk: ['ConnectionTune', { channelMax: 2047, frameMax: 131_072, heartbeat: 60 }],
  ConnectionOpen: ['ConnectionOpenOk', { knownHosts: '' }],
  ConnectionClose: ['ConnectionCloseOk', {}],
  ChannelOpen: ['ChannelOpenOk', { channelId: Buffer.alloc(0) }],
  ChannelClose: ['ChannelCloseOk', {}],
  ConfirmSelect: ['ConfirmSelectOk', {}],
  ExchangeDeclare: ['ExchangeDeclareOk', {}],
}

/** One client. Answers go to the channel of the last publish. */
export class FakeConnection {
  closed = false
  readonly #socket: Socket
  readonly #server: FakeAmqpServer
  readonly #names = new Map(Object.entries(ids).map(([name, id]) => [id, name]))
  #rest = Buffer.alloc(0)
  #greeted = false
  #channel = 1
  #tags = new Map<number, number>()
  #open: { method: Fields; properties: Fields; size: number; parts: Buffer[] } | undefined

  constructor(socket: Socket, server: FakeAmqpServer) {
    this.#socket = socket
    this.#server = server
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.closed = true
      server.changed()
    })
  }

  ack(tag: number, multiple = false): void {
    this.send('BasicAck', { deliveryTag: tag, multiple })
  }

  nack(tag: number, multiple = false): void {
    this.send('BasicNack', { deliveryTag: tag, multiple, requeue: false })
  }

  /** basic.return as RabbitMQ sends it for an unroutable mandatory message: before its ack. */
  return(publish: FakePublish, properties = publish.properties): void {
    const { exchange, routingKey, channel, body } = publish
    this.send('BasicReturn', { replyCode: 312, replyText: 'NO_ROUTE', exchange, routingKey })
    this.#socket.write(codec.encodeProperties(ids.BasicProperties!, channel, body.length, properties))
    if (body.length > 0) this.#socket.write(codec.makeBodyFrame(channel, body))
  }

  closeChannel(replyCode: number, replyText: string): void {
    this.send('ChannelClose', { replyCode, replyText, classId: 60, methodId: 40 })
  }

  closeConnection(replyCode: number, replyText: string): void {
    this.send('ConnectionClose', { replyCode, replyText, classId: 0, methodId: 0 }, 0)
  }

  block(reason: string): void {
    this.send('ConnectionBlocked', { reason }, 0)
  }

  unblock(): void {
    this.send('ConnectionUnblocked', {}, 0)
  }

  /** Ends it without a word. */
  cut(): void {
    this.#socket.destroy()
  }

  /** Reads nothing more; the socket stays open. */
  stall(): void {
    this.#socket.pause()
  }

  /** What is sent meanwhile arrives in one piece. */
  together(send: () => void): void {
    this.#socket.cork()
    send()
    this.#socket.uncork()
  }

  write(bytes: Buffer | string): void {
    this.#socket.write(bytes)
  }

  send(name: string, fields: Fields, channel = this.#channel): void {
    if (!this.closed) this.#socket.write(codec.encodeMethod(ids[name]!, channel, fields))
  }

  #receive(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (!this.#greeted) {
      if (this.#rest.length < 8) return
      this.#greeted = true
      this.#rest = this.#rest.subarray(8)
      const text = { mechanisms: Buffer.from('PLAIN'), locales: Buffer.from('en_US') }
      this.send('ConnectionStart', { versionMajor: 0, versionMinor: 9, serverProperties: {}, ...text }, 0)
    }
    for (let p = codec.parseFrame(this.#rest, 0); p !== false; p = codec.parseFrame(this.#rest, 0)) {
      this.#rest = Buffer.from(p.rest)
      this.#accept(codec.decodeFrame(p))
    }
    this.#server.changed()
  }

  #accept({ id, channel, size, fields, content }: Frame): void {
    const name = id === undefined ? undefined : this.#names.get(id)
    if (name === 'BasicPublish') this.#open = { method: fields, properties: {}, size: 0, parts: [] }
    else if (name === 'BasicProperties') Object.assign(this.#open!, { properties: fields, size })
    else if (content !== undefined) this.#open!.parts.push(content)
    else if (name !== undefined) this.#answer(name, fields, channel)
    if (this.#open === undefined || name === 'BasicPublish') return
    const { method, properties, parts } = this.#open
    const body = Buffer.concat(parts)
    if (body.length < this.#open.size) return
    this.#open = undefined
    this.#channel = channel
    const tag = (this.#tags.get(channel) ?? 0) + 1
    this.#tags.set(channel, tag)
    const { exchange, routingKey } = method as { exchange: string; routingKey: string }
    this.#server.received({ connection: this, channel, tag, exchange, routingKey, properties, body })
  }

  #answer(name: string, fields: Fields, channel: number): void {
    if (name === 'ChannelOpen') this.#tags.delete(channel)
    if (this.#server.script.onMethod?.(name, fields, this) === true) return
    const reply = replies[name]
    if (reply !== undefined) this.send(reply[0], reply[1], channel)
    if (name === 'ConnectionClose') this.#socket.end()
  }
}
