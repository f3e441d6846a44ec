import type { WindowRow } from './confirm-window.ts'
import type { Refusal } from './sink.ts'

/** Decides on an event that cannot be delivered. The stream waits at it meanwhile. */
export interface UndeliverablePolicy {
  /**
   * `settle`: it is durably kept elsewhere and the stream goes on; `hold`: the stream stays at it and it is tried again
   * later. Asked again after each further failure. A rejection holds as well: an event is never skipped for want of a
   * place to keep it.
   */
  decide(row: WindowRow, refusal: Refusal): Promise<'settle' | 'hold'>
}

/** Holds everything: without a place for dead letters nothing may be passed over. */
export const holdUndeliverable: UndeliverablePolicy = {
  decide: async () => 'hold',
}
