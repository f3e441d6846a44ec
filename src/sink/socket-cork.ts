import type { Writable } from 'node:stream'

/**
 * Gathers what amqplib writes in one turn into one write call. amqplib puts frames into a PassThrough whose `readable`
 * comes on the next tick, and its multiplexer writes them one by one to the socket in the setImmediate after that:
 * uncorking in a setImmediate of our own, asked for on the tick after the publish, comes directly behind it. No timer, no
 * added delay.
 */
export class SocketCork {
  readonly #socket: Writable
  #corked = false

  constructor(socket: Writable) {
    this.#socket = socket
    // A full socket makes the multiplexer stop, and go on inside its own drain listener: this one comes before it.
    socket.prependListener('drain', this.#onDrain)
  }

  /** After a publish: corks the socket until what is published in this turn has been written. Cheap to call again. */
  gather(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(this.#afterReadable)
  }

  readonly #afterReadable = (): void => {
    setImmediate(this.#release)
  }

  readonly #release = (): void => {
    this.#corked = false
    this.#socket.uncork()
  }

  readonly #onDrain = (): void => {
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
  }
}
