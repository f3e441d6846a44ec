import type { Socket } from 'node:net'

/** What goes wrong in one direction, shared by all connections and changed while they run. */
export interface FaultSettings {
  blackhole: boolean
  latencyMs: number
  /** 0: chunks pass as they come. */
  sliceBytes: number
  /** Bytes a second that pass on each connection; 0: as fast as they come. */
  bytesPerSecond: number
  /** Bytes that still pass before the connection is reset; undefined: none is. */
  resetAfterBytes: number | undefined
}

type Item = { readonly bytes: Buffer; readonly due: number } | { readonly end: 'end' | 'close'; readonly due: number }

/** One direction of one proxied connection: chunks and the end wait in a queue until the faults let them pass. */
export class Flow {
  readonly #source: Socket
  readonly #sink: Socket
  readonly #settings: FaultSettings
  readonly #reset: () => void
  readonly #queue: Item[] = []
  #timer: NodeJS.Timeout | undefined
  #sinkIsFull = false
  #isCut = false
  /** When the next bytes may pass, for the bandwidth. */
  #clearAt = 0

  constructor(source: Socket, sink: Socket, settings: FaultSettings, reset: () => void) {
    this.#source = source
    this.#sink = sink
    this.#settings = settings
    this.#reset = reset
    source.on('data', (bytes: Buffer) => this.#push({ bytes, due: this.#due() }))
    source.on('end', () => this.#push({ end: 'end', due: this.#due() }))
    source.on('close', () => this.#push({ end: 'close', due: this.#due() }))
    // A reset or refused side: 'close' follows and is passed on.
    source.on('error', () => {})
    sink.on('drain', () => {
      this.#sinkIsFull = false
      this.#pump()
    })
    this.settingsChanged()
  }

  settingsChanged(): void {
    if (this.#settings.blackhole) this.#source.pause()
    this.#pump()
  }

  #due(): number {
    return Date.now() + this.#settings.latencyMs
  }

  #push(item: Item): void {
    this.#queue.push(item)
    // The sender must feel that nobody reads: the kernel's buffers are bounded, this queue is not.
    if ('bytes' in item && (this.#sinkIsFull || this.#settings.blackhole)) this.#source.pause()
    this.#pump()
  }

  #pump(): void {
    while (!this.#settings.blackhole && !this.#sinkIsFull && !this.#isCut) {
      const item = this.#queue[0]
      if (item === undefined) {
        this.#source.resume()
        return
      }
      const wait = Math.max(item.due, 'bytes' in item ? this.#clearAt : 0) - Date.now()
      if (wait > 0) {
        this.#timer ??= setTimeout(() => {
          this.#timer = undefined
          this.#pump()
        }, wait)
        return
      }
      this.#queue.shift()
      if (this.#sink.destroyed) continue
      if ('bytes' in item) this.#write(item)
      else if (item.end === 'end') this.#sink.end()
      else if (this.#source.errored === null) this.#sink.destroySoon()
      else this.#sink.resetAndDestroy()
    }
  }

  #write({ bytes, due }: { readonly bytes: Buffer; readonly due: number }): void {
    const { sliceBytes, resetAfterBytes, bytesPerSecond } = this.#settings
    // A fiftieth of a second at once, so that it flows rather than comes in gulps.
    const portion = bytesPerSecond === 0 ? bytes.length : Math.max(1, Math.floor(bytesPerSecond / 50))
    const slice = sliceBytes === 0 ? bytes.length : sliceBytes
    const limit = Math.min(slice, portion, resetAfterBytes ?? bytes.length, bytes.length)
    if (bytesPerSecond > 0) this.#clearAt = Date.now() + (limit / bytesPerSecond) * 1000
    const last = resetAfterBytes !== undefined && limit === resetAfterBytes
    if (last) this.#isCut = true
    if (limit > 0) this.#sinkIsFull = !this.#sink.write(bytes.subarray(0, limit), last ? this.#resetSoon : undefined)
    else if (last) this.#reset()
    if (limit < bytes.length) this.#queue.unshift({ bytes: bytes.subarray(limit), due })
    if (resetAfterBytes !== undefined) this.#settings.resetAfterBytes = last ? undefined : resetAfterBytes - limit
  }

  /** Time for the receiver to read the last bytes: libuv takes a reset that comes together with bytes for an orderly end. */
  readonly #resetSoon = (): void => {
    setTimeout(this.#reset, 10)
  }
}
