import type { Owner } from './virtual-time.ts'
import { networkDelay, type World } from './world.ts'

/** One direction of a connection: what goes in comes out later, in order, unless it is black-holed by then. */
export class Pipe {
  blackholed = false
  readonly #world: World
  readonly #to: Owner | undefined
  #last = 0

  /** `to` is the process at the other end; undefined for a server. */
  constructor(world: World, to: Owner | undefined) {
    this.#world = world
    this.#to = to
  }

  send(arrive: () => void): void {
    const { time } = this.#world
    this.#last = Math.max(this.#last, time.now + networkDelay(this.#world))
    time.post(this.#last - time.now, this.#to, () => {
      if (!this.blackholed) arrive()
    })
  }
}
