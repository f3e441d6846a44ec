import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { SeededRandom } from '../../support/seeded-random.ts'
import { Aggregates, writerName } from './aggregates.ts'
import { resolveDoubts } from './doubts.ts'
import { type Kind, kinds, usualKinds } from './kinds.ts'
import { Ledger } from './ledger.ts'
import { PreparedTransactions, type WithClient } from './prepared.ts'

export interface LoadOptions {
  readonly url: string
  readonly seed: number
  /** Events a second over all writers, about. */
  readonly rate: number
  readonly writers: number
  readonly table: string
  /** Weights beside the usual ones; 0 leaves a kind out. */
  readonly kinds: Partial<Record<Kind, number>>
}

/** Writers that go on while things break: one whose connection breaks connects anew. */
export class Load {
  readonly ledger = new Ledger()
  /** Events a second over all writers, about; may be set at any time. */
  rate: number
  readonly #options: LoadOptions
  readonly #abort = new AbortController()
  readonly #kinds: readonly Kind[]
  readonly #beside = new Set<Promise<void>>()
  #writers: Promise<void>[] = []
  #paused: { readonly over: Promise<void>; readonly end: () => void } | undefined

  constructor(options: LoadOptions) {
    this.#options = options
    this.rate = options.rate
    // Each wait of each writer is one.
    setMaxListeners(0, this.#abort.signal)
    const weights: Record<Kind, number> = { ...usualKinds, ...options.kinds }
    this.#kinds = kindNames.flatMap((kind) => Array.from({ length: weights[kind] }, () => kind))
  }

  start(): void {
    if (this.#writers.length > 0) return
    this.#writers = Array.from({ length: this.#options.writers }, (_, n) => this.#write(n))
  }

  /** What is open is ended, then nothing is written until resume(). */
  pause(): void {
    let end = () => {}
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    this.#paused ??= { over, end }
  }

  resume(): void {
    this.#paused?.end()
    this.#paused = undefined
  }

  /** Ends all transactions, and finds out what became of those in doubt. PostgreSQL must be there. Safe to repeat. */
  async stop(): Promise<void> {
    this.abandon()
    await Promise.all(this.#writers)
    await Promise.all(this.#beside)
    await resolveDoubts(this.ledger, this.#withClient, this.#options.table)
  }

  /** Stops without waiting for anything. */
  abandon(): void {
    this.#abort.abort()
    this.resume()
  }

  async #write(writer: number): Promise<void> {
    const { seed, table, writers } = this.#options
    const { signal } = this.#abort
    const random = new SeededRandom(seed * 1000 + writer)
    const aggregates = new Aggregates(writerName(writer), random)
    const prepared = new PreparedTransactions(
      `rig_${process.pid}_${seed}_${writer}_${Date.now()}`,
      this.#withClient,
      signal,
    )
    let client: pg.Client | undefined
    let due = Date.now()
    while (!signal.aborted) {
      await this.#paused?.over
      client ??= await this.#connect()
      if (client === undefined) break
      const parts = { client, table, random, aggregates, ledger: this.ledger }
      const beside = (work: Promise<void>) => this.#runBeside(work)
      const kind = this.#kinds[random.between(0, this.#kinds.length - 1)] ?? 'multi'
      try {
        const rows = await kinds[kind]({ random, parts, withClient: this.#withClient, beside, prepared, signal })
        due += (rows / (this.rate / writers)) * 1000
      } catch {
        // Outages are what this is for; the ledger knows what became of the rows.
        await end(client)
        client = undefined
        due = Date.now() + 50
      }
      // What could not be written during an outage is not made up for.
      due = Math.max(due, Date.now() - 500)
      await delay(Math.max(0, due - Date.now()), undefined, { signal }).catch(() => undefined)
    }
    if (client !== undefined) await end(client)
  }

  #runBeside(work: Promise<void>): void {
    const done = work
      .catch(() => undefined)
      .finally(() => {
        this.#beside.delete(done)
      })
    this.#beside.add(done)
  }

  readonly #withClient: WithClient = async (work) => {
    const client = await this.#connect(true)
    if (client === undefined) throw new Error('no connection to PostgreSQL')
    try {
      return await work(client)
    } finally {
      await end(client)
    }
  }

  /** Tries until it is connected; `once` gives up after some seconds, else when the writers are stopped. */
  async #connect(once = false): Promise<pg.Client | undefined> {
    const deadline = Date.now() + 20_000
    while (once ? Date.now() < deadline : !this.#abort.signal.aborted) {
      const client = new pg.Client({
        connectionString: this.#options.url,
        connectionTimeoutMillis: 3000,
        application_name: 'rig_writer',
      })
      client.on('error', () => undefined)
      try {
        await client.connect()
        return client
      } catch {
        // Refused, starting, paused: asked again.
        await end(client)
        await delay(100)
      }
    }
    return undefined
  }
}

const kindNames: readonly Kind[] = [
  'single',
  'multi',
  'interleaved',
  'savepoint',
  'aborted',
  'deleted',
  'prepared',
  'long',
]

/** A connection that hangs is left to the end of the process. */
async function end(client: pg.Client): Promise<void> {
  await Promise.race([client.end().catch(() => undefined), delay(2000, undefined, { ref: false })])
}
