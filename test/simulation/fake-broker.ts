import { BridgeError } from '../../src/base/errors.ts'
import type { BrokerReply } from '../../src/sink/failure.ts'
import type { ChannelEnd, ChannelHandlers } from '../../src/sink/publish-channel.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'
import type { EventKind } from './outbox-event.ts'
import { Pipe } from './pipe.ts'
import { queues } from './truth.ts'
import type { Owner } from './virtual-time.ts'
import type { World } from './world.ts'

/** The state that all connections share. Every message goes to two queues. */
export class FakeBroker {
  running = true
  blocked = false
  /** Confirms nothing, and takes everything. */
  silent = false
  /** Whether a queue is bound for events of kind `blocking`. */
  bound = false
  nackChance = 0
  readonly connections = new Set<BrokerChannel>()

  crash(): void {
    this.running = false
    for (const one of [...this.connections]) one.cut()
  }

  setBlocked(blocked: boolean): void {
    this.blocked = blocked
    for (const one of this.connections) one.tellBlocked()
  }
}

/** What the broker says when it closes the channel for a message. */
const closing: Partial<Record<EventKind, BrokerReply>> = {
  poison404: { code: 404, text: 'NOT_FOUND - no exchange' },
  poison406: { code: 406, text: 'PRECONDITION_FAILED - simulated' },
}

const heartbeat_ms = 3000

type Result = 'ack' | 'nack'

/**
 * One confirm channel on a connection of its own, with the members of PublishChannel that the publisher uses. Confirms
 * come late, out of order and for several at once; what was stored and not confirmed stays stored when it is cut.
 */
export class BrokerChannel {
  readonly connection: {
    readonly endpoint: string
    readonly socket: { readonly bytesWritten: number; readonly writableLength: number }
    onBlocked(listener: (reason: string | undefined) => void): void
    close(): Promise<void>
  }
  readonly ended: Promise<ChannelEnd>
  over = false
  readonly toServer: Pipe
  readonly toClient: Pipe
  readonly #world: World
  readonly #owner: Owner
  readonly #handlers: ChannelHandlers
  readonly #onPublish: (message: OutboundMessage) => void
  #resolve: (end: ChannelEnd) => void = () => {}
  #published = 0
  #unflushed: OutboundMessage[] = []
  #onBlocked: (reason: string | undefined) => void = () => {}
  // The broker's side.
  #isOpen = true
  #isChannelOpen = true
  #toldBlocked = false
  #inbox: OutboundMessage[] = []
  #tag = 0
  readonly #unconfirmed = new Map<number, Result | undefined>()

  constructor(world: World, owner: Owner, handlers: ChannelHandlers, onPublish: (message: OutboundMessage) => void) {
    this.#world = world
    this.#owner = owner
    this.#handlers = handlers
    this.#onPublish = onPublish
    this.toServer = new Pipe(world, undefined)
    this.toClient = new Pipe(world, owner)
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.connection = {
      endpoint: 'simulated',
      socket: { bytesWritten: 0, writableLength: 0 },
      onBlocked: (listener) => {
        this.#onBlocked = listener
      },
      close: async () => this.hangUp(),
    }
    world.broker.connections.add(this)
  }

  publish(message: OutboundMessage): number {
    this.#unflushed.push(message)
    this.#onPublish(message)
    return ++this.#published
  }

  flush(): boolean {
    const messages = this.#unflushed
    if (messages.length === 0) return false
    this.#unflushed = []
    this.toServer.send(() => {
      if (!this.#isOpen) return
      this.#inbox.push(...messages)
      this.#work()
    })
    return true
  }

  end(error: BridgeError): void {
    this.#settle(error, undefined)
  }

  /** Closed by the client, or by the kernel of a dead process: what was sent before still arrives. */
  hangUp(): void {
    this.over = true
    this.toServer.send(() => this.#close())
  }

  /** Both ends lose it; what the broker has not read is lost. */
  cut(): void {
    this.#close()
    this.toClient.send(() => {
      if (!this.over) this.#settle(new BridgeError('SINK_CONNECTION_LOST', 'simulated: connection cut'), undefined)
    })
  }

  /** Nothing passes any more, either way: both ends miss the heartbeats. */
  blackhole(): void {
    this.toServer.blackholed = this.toClient.blackholed = true
    this.#world.time.post(heartbeat_ms, undefined, () => this.#close())
    this.#world.time.post(heartbeat_ms, this.#owner, () => {
      if (!this.over) this.#settle(new BridgeError('SINK_CONNECTION_LOST', 'simulated: heartbeat missed'), undefined)
    })
  }

  /** A broker that has lost its mind: confirms a tag that was never used, or the first one again. */
  confirmUnknown(): void {
    if (!this.#isOpen) return
    const isAnswered = this.#tag > 0 && !this.#unconfirmed.has(1)
    this.#answer('ack', isAnswered && this.#world.random.chance(0.5) ? 1 : this.#tag + 1_000_000, false)
  }

  tellBlocked(): void {
    const { blocked } = this.#world.broker
    if (!this.#isOpen || blocked === this.#toldBlocked) return
    this.#toldBlocked = blocked
    this.toClient.send(() => {
      if (!this.over) this.#onBlocked(blocked ? 'simulated alarm' : undefined)
    })
    if (!blocked) this.#work()
  }

  #work(): void {
    const { broker, time, random } = this.#world
    if (this.#inbox.length > 0 && broker.blocked) {
      this.tellBlocked()
      return
    }
    // Not all at once, so that a cut may find it in the middle.
    for (let left = random.between(1, 6); left > 0 && this.#isOpen; left--) {
      const message = this.#inbox.shift()
      if (message === undefined) return
      if (this.#isChannelOpen) this.#take(message)
    }
    if (this.#inbox.length > 0) time.post(random.between(0, 3), undefined, () => this.#work())
  }

  #take(message: OutboundMessage): void {
    const { random, truth, broker } = this.#world
    const tag = ++this.#tag
    const { messageId, headers } = message.properties
    const kind = truth.events.get(messageId)?.kind
    const reply = kind === undefined ? undefined : closing[kind]
    if (reply !== undefined) {
      this.#closeChannel(reply)
      return
    }
    this.#unconfirmed.set(tag, undefined)
    const lonely = kind === 'unroutable' || kind === 'dropped' || (kind === 'blocking' && !broker.bound)
    if (lonely) {
      truth.returned.add(messageId)
      this.toClient.send(() => this.#guard(() => this.#handlers.onReturn(headers, { code: 312, text: 'NO_ROUTE' })))
      this.#decide(tag, 'ack')
      return
    }
    const nacked = random.chance(broker.nackChance)
    // One of two queues full: a nack, and yet the other has the message.
    const full = nacked ? random.between(0, 2) : -1
    const wal = `${headers['wal-lsn']}#${headers['wal-ordinal']}`
    queues.forEach((queue, index) => {
      if (full !== 2 && full !== index) truth.deliver(queue, messageId, message.body.toString('utf8'), wal)
    })
    this.#decide(tag, nacked ? 'nack' : 'ack')
  }

  #decide(tag: number, result: Result): void {
    const { time, random } = this.#world
    time.post(random.chance(0.1) ? random.between(10, 300) : random.between(0, 6), undefined, () => {
      if (!this.#isOpen || !this.#isChannelOpen) return
      this.#unconfirmed.set(tag, result)
      this.#confirm()
    })
  }

  /** Answers what is ready: one by one in any order, or all up to a tag at once. */
  #confirm(): void {
    const { broker, random, time } = this.#world
    if (!this.#isOpen || !this.#isChannelOpen) return
    const ready = [...this.#unconfirmed].filter(([, result]) => result !== undefined)
    if (ready.length === 0) return
    if (broker.silent) {
      time.post(100, undefined, () => this.#confirm())
      return
    }
    const [first] = this.#unconfirmed
    if (first?.[1] !== undefined && random.chance(0.5)) {
      let through = 0
      for (const [tag, result] of this.#unconfirmed) {
        if (result !== first[1]) break
        through = tag
      }
      for (const tag of [...this.#unconfirmed.keys()]) if (tag <= through) this.#unconfirmed.delete(tag)
      this.#answer(first[1], through, true)
    } else {
      const [tag, result] = ready[random.between(0, ready.length - 1)]!
      this.#unconfirmed.delete(tag)
      if (result !== undefined) this.#answer(result, tag, false)
    }
    if (ready.length > 1) time.post(random.between(0, 4), undefined, () => this.#confirm())
  }

  #answer(result: Result, tag: number, multiple: boolean): void {
    this.toClient.send(() => this.#guard(() => this.#handlers.onAnswer(result === 'ack', tag, multiple)))
  }

  #closeChannel(reply: BrokerReply): void {
    this.#isChannelOpen = false
    this.toClient.send(() => {
      if (!this.over) this.#settle(new BridgeError('SINK_CONNECTION_LOST', `simulated: ${reply.text}`), reply)
    })
  }

  #close(): void {
    this.#isOpen = false
    this.#inbox = []
    this.#world.broker.connections.delete(this)
  }

  #settle(error: BridgeError, refused: BrokerReply | undefined): void {
    this.over = true
    this.#resolve({ error, refused })
  }

  /** As the real channel: what a handler throws ends it. */
  #guard(handle: () => void): void {
    if (this.over) return
    try {
      handle()
    } catch (error) {
      this.#settle(error instanceof BridgeError ? error : new BridgeError('UNKNOWN', String(error)), undefined)
    }
  }
}
