import type { WindowRow } from './confirm-window.ts'
import type { Refusal } from './sink.ts'

/** An event that cannot be delivered now, and why. */
export interface Undeliverable {
  readonly row: WindowRow
  readonly refusal: Refusal
}

/**
 * `kept`: durable elsewhere, so it is settled. `released`: nothing of its aggregate is parked any more, so it is to be
 * sent after all (only for EVENT_PARKED).
 */
export type Verdict = 'kept' | 'released'

/** Keeps what cannot be delivered. Until it has, the settled position does not pass the event. */
export interface UndeliverableKeeper {
  /**
   * Keeps all of them durably, in this order, and resolves with a verdict for each; or rejects, and whether any was kept
   * is unknown: it is asked again. Called one at a time, with at most 500 events and 8 MiB of bodies, or one larger event.
   */
  keep(items: readonly Undeliverable[]): Promise<readonly Verdict[]>
  /** Whether events of this aggregate wait behind an earlier one that could not be delivered. */
  isParked(aggregateType: string | null, aggregateId: string | null): boolean
}
