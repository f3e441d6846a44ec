import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type pg from 'pg'
import { poolSize } from './events.ts'

export const rate_perSecond = 500
/** The first are not kept. */
const uncounted_seconds = 0.5
const arrivalBound_ms = 30_000

/** Starts the clock of one event under its id; the consumer stops it. */
export class Stopwatch {
  readonly #startedAt = new Map<string, number>()
  readonly #arrivedAt = new Map<string, number>()
  #onArrival: () => void = () => {}

  started(id: string): void {
    this.#startedAt.set(id, performance.now())
  }

  arrived(id: string, at: number): void {
    this.#arrivedAt.set(id, at)
    this.#onArrival()
  }

  /** The times of all `ids`, once they have arrived. One may have arrived before its COMMIT returned: below zero. */
  async times(ids: readonly string[]): Promise<number[]> {
    const deadline = performance.now() + arrivalBound_ms
    while (!ids.every((id) => this.#arrivedAt.has(id))) {
      if (performance.now() > deadline) throw new Error(`events missing ${arrivalBound_ms} ms after the last was sent`)
      const arrival = new Promise<void>((resolve) => {
        this.#onArrival = resolve
      })
      await Promise.race([arrival, delay(100)])
    }
    const times = ids.map((id) => this.#arrivedAt.get(id)! - this.#startedAt.get(id)!)
    this.#startedAt.clear()
    this.#arrivedAt.clear()
    return times
  }
}

/** Sends at the rate for so long and gives the ids that count, once every send has been answered. */
export async function pace(seconds: number, send: (id: string, n: number) => Promise<void>): Promise<string[]> {
  const ids: string[] = []
  const answers: Promise<void>[] = []
  const startedAt = performance.now()
  const total = Math.round((seconds + uncounted_seconds) * rate_perSecond)
  while (ids.length < total) {
    const due = Math.min(total, Math.ceil(((performance.now() - startedAt) / 1000) * rate_perSecond))
    while (ids.length < due) {
      const id = randomUUID()
      answers.push(send(id, ids.length))
      ids.push(id)
    }
    await delay(1)
  }
  await Promise.all(answers)
  return ids.slice(Math.round(uncounted_seconds * rate_perSecond))
}

/** Inserts and commits one event, and starts its clock at the moment at which COMMIT returned. */
export async function commitTimed(pool: pg.Pool, stopwatch: Stopwatch, id: string, n: number): Promise<void> {
  await pool.query({ ...insert, values: [id, n % poolSize] })
  stopwatch.started(id)
}

const insert = {
  name: 'bench_insert',
  text: `INSERT INTO public.outbox (id, aggregate_type, aggregate_id, type, payload)
    SELECT $1, 'order', aggregate_id, 'OrderPlaced', payload FROM bench_pool WHERE n = $2`,
}
