import { setTimeout as delay } from 'node:timers/promises'
import type { Ledger } from '../workload/ledger.ts'
import type { SceneQueue } from './queues.ts'

/**
 * What has committed and not yet arrived in every queue that takes it, kept up to date from both sides: to search for it
 * each time would take seconds.
 */
export class Arrivals {
  readonly #queues: readonly SceneQueue[]
  /** In how many queues it is missing. */
  readonly #missing = new Map<string, number>()
  #wake: () => void = () => {}

  constructor(ledger: Ledger, queues: readonly SceneQueue[]) {
    this.#queues = queues
    ledger.onCommitted((rows) => {
      for (const [id, { aggregate }] of rows) {
        const missing = queues.filter(({ takes, consumer }) => takes(aggregate) && !consumer.ids.has(id)).length
        if (missing > 0) this.#missing.set(id, missing)
      }
      this.#wake()
    })
    for (const { consumer } of queues) {
      consumer.onFirst(({ id }) => {
        const left = (this.#missing.get(id) ?? 0) - 1
        if (left > 0) this.#missing.set(id, left)
        else this.#missing.delete(id)
        this.#wake()
      })
    }
  }

  /** Different events in all queues together. */
  get count(): number {
    return this.#queues.reduce((sum, { consumer }) => sum + consumer.ids.size, 0)
  }

  /** Ids of what has committed and not arrived. */
  get missing(): readonly string[] {
    return [...this.#missing.keys()]
  }

  /** Whether it is in every queue that takes it; `aggregate` undefined: in any queue. */
  hasArrived(id: string, aggregate: string | undefined): boolean {
    if (aggregate === undefined) return this.#queues.some(({ consumer }) => consumer.ids.has(id))
    return this.#queues.every(({ takes, consumer }) => !takes(aggregate) || consumer.ids.has(id))
  }

  /** Committed, and known not to arrive: kept as dead letters. */
  excuse(ids: Iterable<string>): void {
    for (const id of ids) this.#missing.delete(id)
    this.#wake()
  }

  /** Resolves with whether the condition came to hold within `timeout` ms; looked at after arrivals. */
  async until(condition: () => boolean, timeout: number): Promise<boolean> {
    const deadline = Date.now() + timeout
    while (!condition()) {
      const left = deadline - Date.now()
      if (left <= 0) return false
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await Promise.race([woken, delay(Math.min(left, 250))])
      // Many arrivals are one look: conditions may be as expensive as a walk over what is missing.
      await delay(1)
    }
    return true
  }

  /** Resolves with whether all that has committed by now arrives within `timeout` ms. */
  untilCaughtUp(timeout: number): Promise<boolean> {
    const waiting = new Set(this.#missing.keys())
    return this.until(() => {
      for (const id of waiting) {
        if (this.#missing.has(id)) return false
        waiting.delete(id)
      }
      return true
    }, timeout)
  }
}
