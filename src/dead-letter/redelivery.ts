import { inTransaction } from '../base/in-transaction.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { drainAggregates } from './aggregate-drain.ts'
import type { DeadLetter } from './dead-letter.ts'
import { releaseParked, renameParked } from './parked-aggregates.ts'
import { type Candidate, firstBatch, nextPage, withoutOvertaking } from './plan-retry.ts'
import type { Outcome, Redeliverer, Rerouting } from './publish-again.ts'
import type { Selection } from './selection.ts'
import { type BatchResult, sendBatch } from './send-batch.ts'
import { noteFailure, removeDeadLetters, takeDeadLetters, takeForDiscard } from './settle-dead-letters.ts'

export interface RedeliveryOptions {
  /** A connection of its own. */
  readonly client: PostgresClient
  readonly slot: string
  readonly redeliverer: Redeliverer
  readonly routing: Rerouting
  /** For the audit: `user@host`. */
  readonly doneBy: string
  /** Once it is durable what became of a dead letter. */
  readonly onSettled: (letter: DeadLetter, outcome: Outcome | { readonly kind: 'discarded' }) => void
  /** True: no further batch. */
  readonly stopAsked: () => boolean
}

/**
 * Sends dead letters again, or discards them, batch by batch: each batch is taken with row locks, sent, and what was
 * confirmed is deleted with its line of the audit, in one transaction. A crash in between leaves the rows as they were:
 * some may be sent twice, none is lost. Events parked behind a dead letter follow it, in order.
 */
export class Redelivery {
  readonly #options: RedeliveryOptions

  constructor(options: RedeliveryOptions) {
    this.#options = options
  }

  /** Rejects with a BridgeError of the broker, or the driver's error; what was settled until then stays so. */
  async retry(selection: Selection): Promise<void> {
    const parked = await this.#pages(selection, async (page) => {
      let loose = page.filter(({ held }) => !held)
      while (loose.length > 0 && !this.#options.stopAsked()) {
        const batch = firstBatch(loose)
        await this.#deliver(async () => batch)
        loose = loose.slice(batch.length)
      }
    })
    await this.#drain(parked, selection)
  }

  /** Removes the selection, and delivers what was parked behind it. */
  async discard(selection: Selection): Promise<void> {
    const { client, doneBy, onSettled } = this.#options
    const parked = await this.#pages(selection, async (page) => {
      const gone = await inTransaction(client, async () => {
        const taken = await takeForDiscard(client, idsOf(page))
        await removeDeadLetters(client, idsOf(taken), 'discarded', doneBy)
        return taken
      })
      for (const letter of gone) onSettled(letter, { kind: 'discarded' })
    })
    await this.#drain(parked, undefined)
  }

  /** Goes through the selection by position; returns which parked aggregates it met. */
  async #pages(selection: Selection, work: (page: readonly Candidate[]) => Promise<void>): Promise<readonly string[]> {
    const { client, slot, stopAsked } = this.#options
    const parked = new Set<string>()
    for (let after: Candidate | undefined; !stopAsked(); ) {
      const page = await nextPage(client, slot, selection, after)
      if (page.length === 0) break
      for (const { held, aggregateKey } of page) if (held && aggregateKey !== null) parked.add(aggregateKey)
      await work(page)
      after = page.at(-1)
    }
    return [...parked]
  }

  async #drain(keys: readonly string[], selection: Selection | undefined): Promise<void> {
    const { client, slot, stopAsked } = this.#options
    const deliver = (plan: () => Promise<Candidate[]>, last: () => Promise<void>) => this.#deliver(plan, last)
    await drainAggregates({ client, slot, keys, selection, stopAsked, deliver })
    // Also what an earlier command left when it was killed.
    await inTransaction(client, () => releaseParked(client, slot, undefined))
  }

  /** One batch in one transaction: what `plan` gives, and `last` once it is settled. */
  async #deliver(plan: () => Promise<Candidate[]>, last?: () => Promise<void>): Promise<BatchResult> {
    const { client, slot, redeliverer, routing, doneBy, onSettled } = this.#options
    const result = await inTransaction(client, async () => {
      const batch = await plan()
      const letters = batch.length === 0 ? [] : withoutOvertaking(batch, await takeDeadLetters(client, idsOf(batch)))
      const sent = await sendBatch(letters, redeliverer, routing)
      const delivered = sent.settled.filter(({ outcome }) => outcome.kind === 'delivered')
      await removeDeadLetters(client, idsOf(delivered.map(({ letter }) => letter)), 'delivered', doneBy)
      for (const { letter, outcome } of sent.settled)
        if (outcome.kind === 'failed') await noteFailure(client, letter.id, outcome.refusal, outcome.attempts)
      await last?.()
      return sent
    })
    for (const { letter, outcome } of result.settled) {
      onSettled(letter, outcome)
      if (outcome.kind !== 'failed' || !letter.isAggregateParked || letter.aggregateKey === null) continue
      await renameParked(client, slot, letter.aggregateKey, letter.eventId ?? '')
    }
    if (result.trouble !== undefined) throw result.trouble
    return result
  }
}

function idsOf(letters: readonly { readonly id: string }[]): string[] {
  return letters.map(({ id }) => id)
}
