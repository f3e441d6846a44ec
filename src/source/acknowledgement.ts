import { assert } from '../base/assert.ts'
import { formatLsn, type Lsn, noLsn } from '../base/lsn.ts'

/**
 * What the slot may be told: the highest stored LSN, which only moves forward. It begins at 0/0, which is no position, and
 * not at what the slot was told before this session: until the checkpoint is claimed, a rewind may have put another slot
 * in its place, and told that position the new one would lose what it was put back for.
 */
export class Acknowledgement {
  #stored: Lsn = noLsn

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

/** Milliseconds from the epoch of JavaScript to that of PostgreSQL, 2000-01-01. */
const postgresEpoch_ms = 946_684_800_000

/**
 * A status update without a position, which keeps the connection and moves no slot: the library can only send one with.
 * Source: https://www.postgresql.org/docs/current/protocol-replication.html, "Standby status update", and
 * ProcessStandbyReplyMessage() in walsender.c, which passes over a flush position of 0/0.
 */
export function statusWithoutPosition(replyRequested: boolean, now_ms: number): Buffer {
  const status = Buffer.alloc(34)
  status.write('r')
  status.writeBigInt64BE(BigInt(now_ms - postgresEpoch_ms) * 1000n, 25)
  status[33] = replyRequested ? 1 : 0
  return status
}
