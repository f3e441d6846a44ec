import type { ConfirmChannel } from 'amqplib'
import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import type { AmqpConnection } from './amqp-connection.ts'
import { type BrokerReply, brokerReply, connectionLost } from './failure.ts'
import { FrameWriter } from './frame-writer.ts'
import type { OutboundMessage } from './sink.ts'

export interface ChannelEnd {
  readonly error: BridgeError
  /** The broker closed the channel (not the connection) and said this: one of the publishes in flight may be why. */
  readonly refused: BrokerReply | undefined
}

/** Called while the channel lives, never afterwards. What they throw ends the channel with that error. */
export interface ChannelHandlers {
  onAnswer(confirmed: boolean, tag: number, multiple: boolean): void
  onReturn(headers: Readonly<Record<string, unknown>>, reply: BrokerReply): void
}

/**
 * One confirm channel from its opening to its end. Delivery tags count from 1 in the order of publish(). Confirms are
 * taken from the channel's events and not from callbacks, as amqplib's own list of callbacks accepts any tag.
 */
export class PublishChannel {
  readonly connection: AmqpConnection
  readonly ended: Promise<ChannelEnd>
  readonly #frames: FrameWriter
  readonly #resolve: (end: ChannelEnd) => void
  #over = false
  #published = 0
  #flushed = 0

  constructor(connection: AmqpConnection, channel: ConfirmChannel, handlers: ChannelHandlers) {
    this.connection = connection
    this.#frames = new FrameWriter(connection.socket, channelNumber(channel), connection.frameMax)
    // amqplib's list of callbacks, which stays empty: a tag that it does not know would make holes in it.
    channel.removeAllListeners('ack').removeAllListeners('nack')
    const { promise, resolve } = deferred<ChannelEnd>()
    this.ended = promise
    this.#resolve = resolve
    channel.on('ack', (f) => this.#guard(() => handlers.onAnswer(true, f.deliveryTag, f.multiple)))
    channel.on('nack', (f) => this.#guard(() => handlers.onAnswer(false, f.deliveryTag, f.multiple)))
    channel.on('return', (message) => {
      const { replyCode, replyText } = message.fields as unknown as { replyCode: number; replyText: string }
      const reply = { code: replyCode, text: replyText }
      this.#guard(() => handlers.onReturn(message.properties.headers ?? {}, reply))
    })
    channel.on('error', (error) => this.#lost(error))
    channel.on('close', () => this.#lost(new Error('channel closed')))
    // The connection's own error says more than the "channel closed" that amqplib gives first: wait for it.
    connection.ended.then((error) => this.#settle(connectionLost(error, connection.endpoint), undefined))
  }

  get over(): boolean {
    return this.#over
  }

  /**
   * Returns the delivery tag. Throws a TypeError or RangeError for what AMQP cannot carry; then nothing is written and no
   * tag is used. Goes out with the next flush().
   */
  publish(message: OutboundMessage): number {
    this.#frames.add(message)
    return ++this.#published
  }

  /** Writes what was published since the last time, in one call. False: nothing was. */
  flush(): boolean {
    if (this.#flushed === this.#published) return false
    this.#flushed = this.#published
    this.#frames.flush()
    return true
  }

  /** Gives the channel up; its answers count no more from here on. */
  end(error: BridgeError): void {
    this.#settle(error, undefined)
  }

  #lost(error: Error): void {
    if (this.#over) return
    const refused = brokerReply(error)
    if (refused !== undefined) {
      const text = `the broker closed the channel: ${refused.code} ${refused.text}`
      this.#settle(new BridgeError('SINK_CONNECTION_LOST', text, { cause: error }), refused)
      return
    }
    this.#over = true
    setImmediate(() => this.#resolve({ error: connectionLost(error, this.connection.endpoint), refused: undefined }))
  }

  #settle(error: BridgeError, refused: BrokerReply | undefined): void {
    this.#over = true
    this.#resolve({ error, refused })
  }

  #guard(handle: () => void): void {
    if (this.#over) return
    try {
      handle()
    } catch (error) {
      const failure = error instanceof BridgeError ? error : new BridgeError('UNKNOWN', String(error), { cause: error })
      this.#settle(failure, undefined)
    }
  }
}

/** Not part of amqplib's types: the test of this file fails when an upgrade moves it. */
function channelNumber(channel: ConfirmChannel): number {
  const { ch } = channel as unknown as { ch: unknown }
  assert(typeof ch === 'number' && ch > 0, 'this version of amqplib does not tell the number of a channel')
  return ch
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
