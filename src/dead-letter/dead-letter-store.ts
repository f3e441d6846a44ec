import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteLiteral } from '../base/sql.ts'
import type { Undeliverable, UndeliverableKeeper, Verdict } from '../sink/undeliverable.ts'
import { deadLetterValues } from './dead-letter-values.ts'
import { insertDeadLetters } from './insert-dead-letters.ts'
import { aggregateKey, memoryKey } from './keys.ts'
import { type ControlConnection, LazyConnection } from './lazy-connection.ts'
import { loadParked, lockParked, type ParkedAggregate, park, releaseParked } from './parked-aggregates.ts'
import { sqlState, storeFailure } from './store-failure.ts'

/** SQLSTATE of our own. */
const fencedState = 'W2R01'

export interface DeadLetterStoreOptions {
  readonly slot: string
  /**
   * `aggregate`: what follows a dead letter in its aggregate is parked behind it. `event`: it goes on, but in aggregates
   * that are parked already.
   */
  readonly scope: 'event' | 'aggregate'
  /** A connection of its own, whose commits are durable before they are answered. Rejects with a BridgeError. */
  readonly connect: () => Promise<ControlConnection>
  /** The epoch under which this process owns the checkpoint: nothing is kept once another owner has claimed it. */
  readonly ownerEpoch?: () => bigint | undefined
  /** Gives the driver's errors a code; `doing` completes "failed while …". */
  readonly toError: (error: unknown, doing: string) => BridgeError
  /** Most parked aggregates held in memory; default 100,000. */
  readonly aggregates_max?: number
  /** Milliseconds after which an unused connection is closed; default one minute. */
  readonly idle?: number
}

/** What one call of keep() settled. */
interface Kept {
  readonly verdicts: readonly Verdict[]
  readonly parked: readonly Undeliverable[]
  readonly released: readonly Undeliverable[]
}

/**
 * Keeps events that cannot be delivered in `wal2rabbit.dead_letter`, all of a call in one transaction. It remembers which
 * aggregates are parked, and never parks an event on the word of its memory: the row of the aggregate in
 * `wal2rabbit.parked_aggregate` is locked with it. It outlives the sessions of the bridge.
 */
export class DeadLetterStore implements UndeliverableKeeper {
  readonly #options: DeadLetterStoreOptions
  readonly #connection: LazyConnection
  readonly #aggregates_max: number
  #parked: Set<string> = new Set()
  /** The outcome of the last call is unknown: the table may hold parked aggregates that the memory does not. */
  #stale = false
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: DeadLetterStoreOptions) {
    this.#options = options
    this.#connection = new LazyConnection(options.connect, options.idle ?? 60_000)
    this.#aggregates_max = options.aggregates_max ?? 100_000
  }

  isParked(aggregateType: string | null, aggregateId: string | null): boolean {
    if (this.#parked.size === 0) return false
    const key = memoryKey(aggregateType, aggregateId)
    return key !== null && this.#parked.has(key)
  }

  /**
   * Reads which aggregates are parked: after each claim of the slot, before anything is published, as another bridge may
   * have parked some meanwhile. Rejects with a BridgeError; then nothing may be published.
   */
  begin(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#transaction('reading the parked aggregates', async (client) => {
        // A command that was killed may have left one behind.
        await releaseParked(client, this.#options.slot, undefined)
        await this.#load(client)
      })
    })
  }

  keep(items: readonly Undeliverable[]): Promise<readonly Verdict[]> {
    return this.#inTurn(async () => {
      const work = async (client: PostgresClient) => {
        if (this.#stale) await this.#load(client)
        return this.#keep(client, items)
      }
      const kept = await this.#transaction('storing dead letters', work, this.#ownerGuard())
      for (const { row } of kept.parked) this.#remember(row.aggregateType, row.aggregateId)
      for (const { row } of kept.released) this.#forget(row.aggregateType, row.aggregateId)
      return kept.verdicts
    })
  }

  /** Closes the connection, after what is under way. Never rejects. */
  close(): Promise<void> {
    return this.#inTurn(() => this.#connection.close())
  }

  async #keep(client: PostgresClient, items: readonly Undeliverable[]): Promise<Kept> {
    const { slot, scope } = this.#options
    const locked = await lockParked(client, slot, keysOf(items.filter(waits)))
    const { verdicts, parked, reasons } = judge(items, locked, scope)
    this.#checkRoom(parked)
    await park(client, slot, aggregatesOf(parked))
    const rows = items.flatMap((item, index) =>
      verdicts[index] === 'kept' ? [deadLetterValues(item, reasons[index])] : [],
    )
    await insertDeadLetters(client, slot, rows)
    const released = items.filter((_, index) => verdicts[index] === 'released')
    const stillParked = new Set(keysOf(parked))
    return { verdicts, parked, released: released.filter(({ row }) => !stillParked.has(keyOf(row) ?? '')) }
  }

  /**
   * A bridge that was stopped for a while must not park what the one that took over has delivered. The lock waits for a
   * claim that is under way.
   */
  #ownerGuard(): string {
    const { slot, ownerEpoch } = this.#options
    const epoch = ownerEpoch?.()
    if (epoch === undefined) return ''
    return `DO $owner$ BEGIN
      PERFORM 1 FROM wal2rabbit.checkpoint WHERE slot = ${quoteLiteral(slot)} AND epoch = ${epoch} FOR SHARE;
      IF NOT FOUND THEN RAISE EXCEPTION 'the checkpoint no longer has epoch ${epoch}' USING ERRCODE = '${fencedState}'; END IF;
    END $owner$; `
  }

  #checkRoom(parked: readonly Undeliverable[]): void {
    const added = new Set(parked.map(({ row }) => memoryKey(row.aggregateType, row.aggregateId)))
    const size = [...added].filter((key) => key !== null && !this.#parked.has(key)).length + this.#parked.size
    if (size > this.#aggregates_max) throw this.#tooMany()
  }

  async #load(client: PostgresClient): Promise<void> {
    const found = await loadParked(client, this.#options.slot, this.#aggregates_max + 1)
    if (found.length > this.#aggregates_max) throw this.#tooMany()
    this.#parked = new Set()
    for (const { aggregateType, aggregateId } of found) this.#remember(aggregateType, aggregateId)
  }

  #tooMany(): BridgeError {
    return new BridgeError(
      'DEAD_LETTERS_TOO_MANY',
      `more than ${this.#aggregates_max} aggregates of slot ${this.#options.slot} wait behind a dead letter`,
    )
  }

  #remember(aggregateType: string | null, aggregateId: string | null): void {
    const key = memoryKey(aggregateType, aggregateId)
    if (key !== null) this.#parked.add(key)
  }

  #forget(aggregateType: string | null, aggregateId: string | null): void {
    const key = memoryKey(aggregateType, aggregateId)
    if (key !== null) this.#parked.delete(key)
  }

  async #transaction<T>(doing: string, work: (client: PostgresClient) => Promise<T>, guardSql?: string): Promise<T> {
    try {
      const result = await this.#connection.transaction(work, guardSql)
      this.#stale = false
      return result
    } catch (error) {
      this.#stale = true
      if (sqlState(error) === fencedState) {
        const text = `dead letters of slot ${this.#options.slot} are another bridge's to keep`
        throw new BridgeError('CHECKPOINT_FENCED', text, { cause: error })
      }
      throw storeFailure(error, doing, this.#options.toError)
    }
  }

  /** One after the other, so that the memory never lags behind the table. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined) // whoever asked has the rejection; the next one goes ahead
    return turn
  }
}

interface Judgement {
  readonly verdicts: readonly Verdict[]
  /** Of each event: a better text for its reason. */
  readonly reasons: readonly (string | undefined)[]
  /** Events whose aggregate is to be parked, one of each aggregate. */
  readonly parked: readonly Undeliverable[]
}

/** In order: an event that waits is kept only where its aggregate is parked, also by an earlier event of this call. */
function judge(
  items: readonly Undeliverable[],
  locked: ReadonlyMap<string, ParkedAggregate>,
  scope: 'event' | 'aggregate',
): Judgement {
  const behind = new Map([...locked].map(([key, { behindEventId }]) => [key, behindEventId]))
  const parking = new Set<string>()
  const parked: Undeliverable[] = []
  const verdicts: Verdict[] = []
  const reasons: (string | undefined)[] = []
  for (const item of items) {
    const key = keyOf(item.row)
    const first = key === null ? undefined : behind.get(key)
    verdicts.push(waits(item) && first === undefined ? 'released' : 'kept')
    reasons.push(waits(item) && first !== undefined ? `waits behind event ${first || 'without id'}` : undefined)
    if (scope === 'event' || waits(item) || key === null || parking.has(key)) continue
    parking.add(key)
    parked.push(item)
    if (first === undefined) behind.set(key, item.row.eventId ?? '')
  }
  return { verdicts, reasons, parked }
}

function aggregatesOf(items: readonly Undeliverable[]): ParkedAggregate[] {
  return items.flatMap(({ row }) => {
    const key = keyOf(row)
    assert(key !== null, 'an event without aggregate was to park its aggregate')
    const { aggregateType, aggregateId, eventId } = row
    return [{ key, aggregateType: aggregateType ?? '', aggregateId: aggregateId ?? '', behindEventId: eventId ?? '' }]
  })
}

function keysOf(items: readonly Undeliverable[]): string[] {
  return [...new Set(items.flatMap(({ row }) => keyOf(row) ?? []))]
}

function keyOf(row: Undeliverable['row']): string | null {
  return aggregateKey(row.aggregateType, row.aggregateId)
}

function waits({ refusal }: Undeliverable): boolean {
  return refusal.code === 'EVENT_PARKED'
}
