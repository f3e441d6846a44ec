import type { BridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import type { StartPosition } from '../source/source.ts'

/** Where a session starts, and what was stored and acknowledged before it. */
export interface Resume {
  readonly start: StartPosition
  /** True: `start` is the position kept in memory, and the window with it. False: it is the row's; the window starts anew. */
  readonly remembered: boolean
  readonly stored: StartPosition
  /** `confirmed_flush_lsn` of the slot. */
  readonly acknowledged: Lsn
}

export type HistoryMoment = 'start' | 'interval' | 'stop'

/**
 * The bookkeeping side of one session: guards, owner epoch, stored LSN, history. On a connection of its own. Every call
 * settles within a bound, also when the server says nothing: sessions and stops wait for them.
 */
export interface Checkpoint {
  /**
   * Connects, reads row, slot and server, and applies the start-up guards; `received` is where the kept window ends.
   * `onLost` is called once when the connection breaks later. Rejects with the halt or retry code.
   */
  resume(received: StartPosition, onLost: (error: BridgeError) => void): Promise<Resume>
  /**
   * Becomes the owner, and looks at the slot again now that nobody else can move it. Rejects with CHECKPOINT_FENCED when
   * the row changed since resume(), and with the halt code when the slot did.
   */
  claim(): Promise<void>
  /**
   * Stores the settled position; `rows` of it were settled since the last call. Resolves with the server's WAL end after
   * it. Rejects with CHECKPOINT_FENCED or a retry code; then it is unknown whether the row was written.
   */
  store(settled: StartPosition, rows: number): Promise<Lsn>
  /** Resolves when the row was still ours after this was asked. Rejects with CHECKPOINT_FENCED, or a retry code. */
  confirmOwner(): Promise<void>
  /** Writes a history entry for the stored LSN, and prunes old ones. */
  recordHistory(moment: HistoryMoment): Promise<void>
  /** Looks again whether publication and table still carry the mapped columns. Rejects with the halt code. */
  watch(): Promise<void>
  /** Keeps retention from rows that the stream may have left out, until the next claim. Never rejects. */
  noteUnstreamed(): Promise<void>
  /** Closes the connection within a bound. Idempotent, never rejects. */
  close(): Promise<void>
}
