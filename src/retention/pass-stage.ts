import { setTimeout as sleep } from 'node:timers/promises'
import { backoffDelay } from '../base/backoff.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { FloorGuard } from './floor-guard.ts'
import type { OutboxFacts } from './outbox-facts.ts'
import type { RowLimits } from './row-conditions.ts'

/** What the parts of one pass share. */
export interface PassStage {
  readonly client: PostgresClient
  readonly facts: OutboxFacts
  readonly limits: RowLimits
  readonly dryRun: boolean
  readonly signal: AbortSignal
  /** To be asked before anything goes. */
  readonly guard: FloorGuard
  readonly locks: LockTroubles
  /** Called with what an operator should know, though the pass goes on. */
  readonly notice: (text: string) => void
  /** Called when old rows are met that stay because the slot may not have streamed them. */
  readonly onUnstreamed: () => void
}

const backoff = { initialDelay: 500, maxDelay: 30_000 }
const inARow_max = 3

/**
 * Locks of others that a pass met. It passes them by, after a pause that doubles with each, and gives up after some in a
 * row: then it is the whole table that somebody holds.
 */
export class LockTroubles {
  #inARow = 0
  #total = 0
  #last: unknown
  readonly #random: () => number

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  get total(): number {
    return this.#total
  }

  /** The last of them; undefined when there was none. */
  get last(): unknown {
    return this.#last
  }

  passed(): void {
    this.#inARow = 0
  }

  /** Milliseconds to pause for. Throws `error` when it is no lock timeout and no deadlock, or one too many. */
  met(error: unknown): number {
    if (!/^(55P03|40P01)$/.test(String((error as { code?: unknown }).code))) throw error
    if (++this.#inARow >= inARow_max) throw error
    this.#total++
    this.#last = error
    return backoffDelay(backoff, this.#total, this.#random)
  }
}

/** Waits, or less when the signal comes. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Runs `work` in a transaction, which is rolled back when it rejects or gives undefined. */
export async function inTransaction<T>(
  client: PostgresClient,
  work: () => Promise<T | undefined>,
): Promise<T | undefined> {
  await client.query({ text: 'BEGIN' })
  let result: T | undefined
  try {
    result = await work()
  } finally {
    await client.query({ text: result === undefined ? 'ROLLBACK' : 'COMMIT' })
  }
  return result
}
