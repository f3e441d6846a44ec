import type { SeededRandom } from '../support/seeded-random.ts'

/** A process of the simulation: it can die, or be stopped for a while (SIGSTOP). The world itself has no owner. */
export interface Owner {
  alive: boolean
  stopped: boolean
  /** What came due while it was stopped, in that order. */
  held: Moment[]
}

/** Something that happens at a time, to one process or to the world. */
export interface Moment {
  at: number
  readonly order: number
  readonly owner: Owner | undefined
  readonly run: () => void
  cancelled: boolean
}

// Taken before any history replaces them.
const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  clearImmediate: globalThis.clearImmediate,
  random: Math.random,
}

/**
 * Time without waiting: timers, immediates, performance.now() and Math.random() of the process are replaced while a
 * history runs. Each moment runs by itself, then all promises that it settled; so what a moment starts belongs to the
 * same owner, and the order of everything follows from the seed.
 */
export class VirtualTime {
  now = 0
  /** Moments that ran. */
  steps = 0
  #heap: Moment[] = []
  #order = 0
  #current: Owner | undefined
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    this.#random = random
  }

  /** Runs `run` in `delay` milliseconds for `owner`, if that is alive then. */
  post(delay: number, owner: Owner | undefined, run: () => void): Moment {
    const moment = { at: this.now + delay, order: this.#order++, owner, run, cancelled: false }
    this.#push(moment)
    return moment
  }

  /** Goes on with a stopped process: what came due meanwhile comes now, in order. */
  proceed(owner: Owner): void {
    owner.stopped = false
    for (const moment of owner.held.splice(0)) {
      // It keeps its number: what was sent over the same connection after it still comes after it.
      moment.at = this.now
      this.#push(moment)
    }
  }

  /** One moment and all that follows from it at once. False: nothing is left. */
  async step(): Promise<boolean> {
    for (;;) {
      const moment = this.#pop()
      if (moment === undefined) return false
      const { owner } = moment
      if (moment.cancelled || owner?.alive === false) continue
      this.now = Math.max(this.now, moment.at)
      if (owner?.stopped) {
        owner.held.push(moment)
        continue
      }
      this.steps++
      this.#current = owner
      moment.run()
      // The world has no promises: only a process goes on after its moment.
      if (owner !== undefined) await new Promise<void>((resolve) => real.setImmediate(resolve))
      this.#current = undefined
      return true
    }
  }

  /** Replaces the globals until restore(). */
  install(): void {
    const start = (delay: number | undefined, run: () => void) =>
      handle(this.post(Math.max(0, delay ?? 0), this.#current, run))
    const stop = (timer: unknown) => {
      if (isHandle(timer)) timer.moment.cancelled = true
    }
    const repeat = (run: () => void, delay: number) => {
      const owner = this.#current
      const timer = handle(this.post(delay, owner, tick))
      const post = (): Moment => this.post(delay, owner, tick)
      function tick(): void {
        run()
        if (!timer.moment.cancelled) timer.moment = post()
      }
      return timer
    }
    Object.assign(globalThis, {
      setTimeout: (run: (...values: unknown[]) => void, delay?: number, ...values: unknown[]) =>
        start(Math.max(1, delay ?? 0), () => run(...values)),
      clearTimeout: stop,
      setInterval: (run: () => void, delay: number) => repeat(run, Math.max(1, delay)),
      clearInterval: stop,
      setImmediate: (run: () => void) => start(0, run),
      clearImmediate: stop,
    })
    Object.defineProperty(performance, 'now', { configurable: true, value: () => this.now })
    Math.random = () => this.#random.next()
  }

  restore(): void {
    const { random, ...timers } = real
    Object.assign(globalThis, timers)
    Math.random = random
    Reflect.deleteProperty(performance, 'now')
    this.#heap = []
  }

  #push(moment: Moment): void {
    const heap = this.#heap
    let at = heap.push(moment) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent]!, moment)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = moment
  }

  #pop(): Moment | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (isBefore(last, heap[child]!)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Moment, b: Moment): boolean {
  return a.at === b.at ? a.order < b.order : a.at < b.at
}

interface Handle {
  moment: Moment
  ref(): Handle
  unref(): Handle
}

function handle(moment: Moment): Handle {
  const timer: Handle = { moment, ref: () => timer, unref: () => timer }
  return timer
}

function isHandle(value: unknown): value is Handle {
  return typeof value === 'object' && value !== null && 'moment' in value
}
