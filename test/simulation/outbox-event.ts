/**
 * What becomes of an event: `good` is delivered; `unroutable` is returned for ever; `dropped` too, with the policy drop;
 * `blocking` is returned until its queue is bound, with the policy block; `poison404` and `poison406` make the broker
 * close the channel; `invalid` is refused by the bridge itself.
 */
export type EventKind = 'good' | 'unroutable' | 'dropped' | 'blocking' | 'poison404' | 'poison406' | 'invalid'

export const oddKinds: readonly EventKind[] = ['unroutable', 'dropped', 'blocking', 'poison404', 'poison406', 'invalid']

/** A row of the outbox whose transaction has committed. */
export interface OutboxEvent {
  readonly id: string
  readonly kind: EventKind
  readonly aggregateId: string
  readonly payload: string
  readonly insert: Buffer
  commitLsn: bigint
  endLsn: bigint
  ordinal: number
}

export interface Transaction {
  readonly xid: number
  readonly commitLsn: bigint
  readonly endLsn: bigint
  readonly events: readonly OutboxEvent[]
}
