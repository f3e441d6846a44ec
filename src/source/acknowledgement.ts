import { assert } from '../base/assert.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'

/**
 * What the slot may be told: the highest stored LSN, which only moves forward. It begins at what the slot was told
 * before, so that status updates can be sent when nothing has been stored in this session: to repeat that is harmless.
 */
export class Acknowledgement {
  #stored: Lsn

  constructor(confirmedFlush: Lsn) {
    this.#stored = confirmedFlush
  }

  get stored(): Lsn {
    return this.#stored
  }

  /** True when it moved. Throws ASSERTION_FAILED above `received`: it cannot be taken back, and the slot believes it. */
  advance(stored: Lsn, received: Lsn): boolean {
    assert(
      stored <= received,
      () => `the LSN to acknowledge is ${formatLsn(stored)}, but only ${formatLsn(received)} was received`,
    )
    if (stored <= this.#stored) return false
    this.#stored = stored
    return true
  }
}

/**
 * The LSN to hand to pg-logical-replication, which sends the one after it: `0/0` would come out as a position of its
 * own. Throws ASSERTION_FAILED for 0/0, which has nothing before it.
 */
export function librarySendsNext(stored: Lsn): string {
  assert(stored > 0n, 'no LSN to acknowledge: 0/0 is none')
  return formatLsn(stored - 1n)
}
