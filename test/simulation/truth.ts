import { formatLsn } from '../../src/base/lsn.ts'
import { describePosition } from '../../src/checkpoint/positions.ts'
import type { StartPosition } from '../../src/source/source.ts'
import type { OutboxEvent, Transaction } from './outbox-event.ts'
import type { Profile } from './world.ts'

export const queues = ['first', 'second'] as const

/**
 * What really happened, apart from what any bridge believes, and the invariants over it. The first breach is kept in
 * `violation`; it is not thrown, as the bridge would take it for an error of its own.
 */
export class Truth {
  violation: string | undefined
  /** Committed and not taken back by a failover, in commit order. */
  readonly committed: Transaction[] = []
  readonly events = new Map<string, OutboxEvent>()
  /** Ids of events that a failover took back. They may have been delivered before. */
  readonly undone = new Set<string>()
  readonly delivered = { first: new Set<string>(), second: new Set<string>() }
  readonly returned = new Set<string>()
  /** Kept as dead letters at any time; and discarded by the operator. */
  readonly everKept = new Set<string>()
  readonly everDiscarded = new Set<string>()
  readonly figures = { events: 0, deliveries: 0, repeats: 0, deadLetters: 0, stores: 0 }
  readonly #profile: Profile
  /** Dead letters that are durable now. */
  readonly #isKept: (id: string) => boolean
  readonly #byAggregate = new Map<string, OutboxEvent[]>()
  /** All before these were found handled, or delivered. */
  #handledTransactions = 0
  readonly #inOrder = { first: 0, second: 0 }
  #all: OutboxEvent[] = []

  constructor(profile: Profile, isKept: (id: string) => boolean) {
    this.#profile = profile
    this.#isKept = isKept
  }

  breach(invariant: string, text: string): void {
    this.violation ??= `${invariant}: ${text}`
  }

  commit(transaction: Transaction): void {
    this.committed.push(transaction)
    for (const event of transaction.events) {
      this.figures.events++
      this.events.set(event.id, event)
      this.#all.push(event)
      const lane = this.#byAggregate.get(event.aggregateId)
      if (lane === undefined) this.#byAggregate.set(event.aggregateId, [event])
      else lane.push(event)
    }
  }

  /** A failover took back what had committed above `lsn`. */
  undoAbove(lsn: bigint): void {
    while ((this.committed.at(-1)?.endLsn ?? 0n) > lsn) {
      for (const event of this.committed.pop()!.events) this.undone.add(event.id)
    }
    const stays = (event: OutboxEvent) => !this.undone.has(event.id)
    for (const [id, lane] of this.#byAggregate) this.#byAggregate.set(id, lane.filter(stays))
    this.#all = this.#all.filter(stays)
    this.#handledTransactions = 0
    this.#inOrder.first = this.#inOrder.second = 0
  }

  /** In every queue, a dead letter, or passed over by policy. */
  isHandled({ id, kind }: OutboxEvent): boolean {
    return (
      (this.delivered.first.has(id) && this.delivered.second.has(id)) ||
      this.#isKept(id) ||
      this.everDiscarded.has(id) ||
      (kind === 'dropped' && this.returned.has(id))
    )
  }

  /** I1, I2, I3: a message came into a queue. */
  deliver(queue: (typeof queues)[number], id: string, body: string, wal: string): void {
    const event = this.events.get(id)
    this.figures.deliveries++
    if (event === undefined) {
      this.breach('I2', `event ${id} was delivered and never committed`)
      return
    }
    if (body !== event.payload || wal !== `${formatLsn(event.commitLsn)}#${event.ordinal}`)
      this.breach('content', `event ${id} was delivered as ${wal} with body ${body}`)
    const seen = this.delivered[queue]
    if (seen.has(id)) {
      this.figures.repeats++
      return
    }
    seen.add(id)
    if (this.undone.has(id)) return
    if (this.#profile.order === 'aggregate') this.#checkAggregate(queue, event)
    else if (this.#profile.calm) this.#checkCommitOrder(queue, event)
  }

  /** I1, I5, I6: nothing at or below `position` may be unhandled when it is stored, or told to the slot. */
  checkCovered(position: StartPosition, what: string): void {
    let at = this.#handledTransactions
    for (; at < this.committed.length; at++) {
      const transaction = this.committed[at]!
      if (transaction.commitLsn >= position.lsn) break
      for (const event of transaction.events) this.#checkHandled(event, position, what)
    }
    this.#handledTransactions = at
    const partial = position.partial
    if (partial === null) return
    const open = this.committed.find(({ commitLsn }) => commitLsn === partial.commitLsn)
    for (const event of open?.events.slice(0, partial.rows) ?? []) this.#checkHandled(event, position, what)
  }

  /** Events that are not handled, in commit order. */
  get unhandled(): OutboxEvent[] {
    return this.#all.filter((event) => !this.isHandled(event))
  }

  #checkHandled(event: OutboxEvent, position: StartPosition, what: string): void {
    if (!this.isHandled(event))
      this.breach('I1/I5', `${what} ${describePosition(position)} passed ${describe(event)}, which is not settled`)
  }

  /** Per aggregate, first deliveries come without a gap: what was before is delivered, or it is a dead letter. */
  #checkAggregate(queue: (typeof queues)[number], event: OutboxEvent): void {
    const passesDeadLetters = this.#profile.scope === 'event'
    for (const before of this.#byAggregate.get(event.aggregateId) ?? []) {
      if (before.id === event.id) return
      const { id, kind } = before
      const gone =
        this.delivered[queue].has(id) ||
        this.everDiscarded.has(id) ||
        (passesDeadLetters && this.everKept.has(id)) ||
        (kind === 'dropped' && this.returned.has(id))
      if (!gone) this.breach('I3', `${describe(event)} was delivered to ${queue} before ${describe(before)}`)
    }
  }

  #checkCommitOrder(queue: (typeof queues)[number], event: OutboxEvent): void {
    const isSeen = (one: OutboxEvent | undefined) =>
      one !== undefined && one.id !== event.id && this.delivered[queue].has(one.id)
    while (isSeen(this.#all[this.#inOrder[queue]])) this.#inOrder[queue]++
    const next = this.#all[this.#inOrder[queue]]
    if (next?.id !== event.id)
      this.breach('I3', `${describe(event)} was delivered to ${queue} before ${next && describe(next)}`)
  }
}

export function describe(event: OutboxEvent): string {
  return `${event.kind} event ${event.id} of ${event.aggregateId} (${formatLsn(event.commitLsn)}#${event.ordinal})`
}

/** Whether a start position lies behind the event: then it must not come again. */
export function covers({ lsn, partial }: StartPosition, event: OutboxEvent): boolean {
  if (event.commitLsn < lsn) return true
  if (partial === null || event.commitLsn > partial.commitLsn) return false
  return event.commitLsn < partial.commitLsn || event.ordinal < partial.rows
}
