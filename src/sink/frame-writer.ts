import type { Writable } from 'node:stream'
import { bodyFrames, copiedBody_bytes_max, publishRoom_bytes, writePublish } from './publish-frames.ts'
import type { OutboundMessage } from './sink.ts'

const slab_bytes = 256 * 1024
/** A table that AMQP can carry, 64 KiB, with its frame. */
const room_bytes = publishRoom_bytes(64 * 1024)
const idleSlabs_max = 4

/** A piece of memory that is written to the socket part by part, and used again once all of it has been taken. */
interface Slab {
  readonly bytes: Buffer
  used: number
  /** Up to where it was handed to the socket. */
  written: number
  /** Parts that the socket has not taken yet. */
  pending: number
}

/**
 * Gathers the frames of many publishes and writes them to the socket in one call. The memory is its own and used again:
 * a message costs no buffer and no garbage. Whole frames only, so what amqplib writes itself, such as heartbeats, may
 * come between.
 */
export class FrameWriter {
  readonly #socket: Writable
  readonly #channel: number
  readonly #frame_bytes_max: number
  readonly #idle: Slab[] = []
  #slab: Slab = newSlab()

  /** `frame_bytes_max` as negotiated with the broker. */
  constructor(socket: Writable, channel: number, frame_bytes_max: number) {
    this.#socket = socket
    this.#channel = channel
    this.#frame_bytes_max = frame_bytes_max
  }

  /** Throws a RangeError or TypeError for what AMQP cannot carry; then nothing of it will be written. */
  add(message: OutboundMessage): void {
    if (slab_bytes - this.#slab.used < room_bytes) this.#nextSlab()
    const slab = this.#slab
    const end = writePublish(slab.bytes, slab.used, this.#channel, message, this.#frame_bytes_max)
    if (end > slab_bytes) throw new RangeError(`its frames take more than ${room_bytes} bytes`)
    slab.used = end
    if (message.body.length <= copiedBody_bytes_max) return
    this.flush()
    this.#socket.cork()
    for (const part of bodyFrames(this.#channel, message.body, this.#frame_bytes_max)) this.#socket.write(part)
    this.#socket.uncork()
  }

  /** Hands everything added so far to the socket. */
  flush(): void {
    const slab = this.#slab
    if (slab.written === slab.used) return
    const part = slab.bytes.subarray(slab.written, slab.used)
    slab.written = slab.used
    slab.pending++
    this.#socket.write(part, () => {
      slab.pending--
      this.#recycle(slab)
    })
  }

  #nextSlab(): void {
    this.flush()
    this.#slab = this.#idle.pop() ?? newSlab()
  }

  /** Once the socket has taken all of it. */
  #recycle(slab: Slab): void {
    if (slab.pending > 0 || slab.written < slab.used) return
    slab.used = 0
    slab.written = 0
    if (slab !== this.#slab && this.#idle.length < idleSlabs_max) this.#idle.push(slab)
  }
}

function newSlab(): Slab {
  return { bytes: Buffer.allocUnsafeSlow(slab_bytes), used: 0, written: 0, pending: 0 }
}
