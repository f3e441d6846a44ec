/** Reads the fields of one protocol message, front to back. Throws a RangeError behind its end. */
export class MessageReader {
  readonly #payload: Buffer
  #offset: number

  constructor(payload: Buffer, offset: number) {
    this.#payload = payload
    this.#offset = offset
  }

  /** A string that ends with a zero byte. */
  name(): string {
    const end = this.#payload.indexOf(0, this.#offset)
    if (end < 0) throw new RangeError('a name without its closing zero byte')
    const name = this.#payload.toString('utf8', this.#offset, end)
    this.#offset = end + 1
    return name
  }

  uint16(): number {
    this.#offset += 2
    return this.#payload.readUInt16BE(this.#offset - 2)
  }

  uint32(): number {
    this.#offset += 4
    return this.#payload.readUInt32BE(this.#offset - 4)
  }

  skip(bytes: number): void {
    this.#offset += bytes
  }
}
