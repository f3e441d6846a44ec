import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { StartPosition } from '../source/source.ts'
import {
  type HistoryEntry,
  type HistoryKind,
  type HistoryRetention,
  pruneHistory,
  recordHistory,
} from './checkpoint-history.ts'
import { type CheckpointRow, checkpointColumnsSql, parseCheckpointRow } from './checkpoint-row.ts'
import { comparePositions, describePosition } from './positions.ts'

export interface CheckpointStoreOptions {
  /** A connection of its own to the database of the slot, in no transaction. */
  readonly client: PostgresClient
  readonly slot: string
  /** Gives the driver's errors a code; `doing` completes "failed while …". */
  readonly toError: (error: unknown, doing: string) => BridgeError
}

/** What this owner wrote last: a store counts only on top of it. */
interface Claim {
  readonly epoch: bigint
  readonly version: bigint
  readonly position: StartPosition
}

/** `unstreamed_below` while the stream leaves rows out: above every transaction that will ever be. The claim after that ends it. */
export const unstreamedUntilClaim = '9223372036854775807'

const noteUnstreamedSql = 'UPDATE wal2rabbit.checkpoint SET unstreamed_below = $2 WHERE slot = $1'

const loadSql = `SELECT ${checkpointColumnsSql} FROM wal2rabbit.checkpoint WHERE slot = $1`

const claimSql = `
  UPDATE wal2rabbit.checkpoint SET epoch = epoch + 1, version = version + 1, owner = $3, timeline = $4,
    partial_commit_lsn = CASE WHEN $5 THEN partial_commit_lsn END, partial_rows = CASE WHEN $5 THEN partial_rows END,
    unstreamed_below = CASE WHEN unstreamed_below = '${unstreamedUntilClaim}' THEN pg_current_xact_id() ELSE unstreamed_below END
  WHERE slot = $1 AND version = $2
  RETURNING ${checkpointColumnsSql}, pg_current_wal_insert_lsn()::text AS wal_end`

const storeSql = `
  UPDATE wal2rabbit.checkpoint SET lsn = $4, partial_commit_lsn = $5, partial_rows = $6, events = events + $7,
    version = version + 1, stored_at = clock_timestamp()
  WHERE slot = $1 AND epoch = $2 AND version = $3
    AND (lsn, coalesce(partial_commit_lsn, '0/0'), coalesce(partial_rows, 0))
      <= ($4::pg_lsn, coalesce($5::pg_lsn, '0/0'), coalesce($6::bigint, 0))
  RETURNING version::text AS version, pg_current_wal_insert_lsn()::text AS wal_end`

const ownerSql = 'SELECT 1 FROM wal2rabbit.checkpoint WHERE slot = $1 AND epoch = $2'

/**
 * The stored position of one slot, in `wal2rabbit.checkpoint`. An owner claims the row and then stores on top of what it
 * wrote itself; when anybody else has changed the row in between, the store changes nothing and fails as
 * CHECKPOINT_FENCED. One round trip a store; the row never moves backward.
 */
export class CheckpointStore {
  readonly #options: CheckpointStoreOptions
  #claim: Claim | undefined
  #storing = false

  constructor(options: CheckpointStoreOptions) {
    this.#options = options
  }

  /** The version that this owner wrote last; undefined before a claim. */
  get version(): bigint | undefined {
    return this.#claim?.version
  }

  async load(): Promise<CheckpointRow | undefined> {
    const rows = await this.#query('reading the checkpoint', 'wal2rabbit_load', loadSql, [this.#options.slot])
    return rows[0] === undefined ? undefined : parseCheckpointRow(rows[0])
  }

  /**
   * Makes `owner` the one who stores, if the row is still the loaded one. Call it once the slot is held, not before: a
   * waiting stand-by must not fence the active bridge. `keepPartial` false drops the position inside a transaction,
   * when the start decision did. Returns the row, and the WAL end after writing it.
   */
  async claim(
    loaded: Pick<CheckpointRow, 'version'>,
    owner: { readonly name: string; readonly timeline: number; readonly keepPartial: boolean },
  ): Promise<{ readonly row: CheckpointRow; readonly walEnd: Lsn }> {
    const { slot } = this.#options
    const values = [slot, loaded.version, owner.name, owner.timeline, owner.keepPartial]
    const rows = await this.#query('claiming the checkpoint', 'wal2rabbit_claim', claimSql, values)
    if (rows[0] === undefined) {
      throw new BridgeError(
        'CHECKPOINT_FENCED',
        `checkpoint of slot ${slot} was changed by somebody else: it no longer has version ${loaded.version}`,
      )
    }
    const row = parseCheckpointRow(rows[0])
    this.#claim = { epoch: row.epoch, version: row.version, position: row.position }
    return { row, walEnd: parseLsn(String(rows[0].wal_end)) }
  }

  /**
   * Stores `position`, and adds `events` settled since the last store. Resolves when it is durable, with the WAL end
   * after it (less our own commit record). Throws CHECKPOINT_FENCED when the row is no longer ours.
   */
  async store(position: StartPosition, events: number): Promise<{ readonly walEnd: Lsn }> {
    const claim = this.#claim
    assert(claim !== undefined, 'checkpoint stored without a claim')
    assert(!this.#storing, 'checkpoint stored while another store is under way')
    assert(
      comparePositions(position, claim.position) >= 0,
      () => `checkpoint would move back from ${describePosition(claim.position)} to ${describePosition(position)}`,
    )
    const { slot } = this.#options
    const { lsn, partial } = position
    const partialValues = partial === null ? [null, null] : [formatLsn(partial.commitLsn), partial.rows]
    const values = [slot, claim.epoch, claim.version, formatLsn(lsn), ...partialValues, events]
    this.#storing = true
    try {
      const rows = await this.#query('storing the checkpoint', 'wal2rabbit_store', storeSql, values)
      if (rows[0] === undefined) {
        throw new BridgeError(
          'CHECKPOINT_FENCED',
          `checkpoint of slot ${slot} was changed by somebody else: expected epoch ${claim.epoch}, version ${claim.version}`,
        )
      }
      this.#claim = { epoch: claim.epoch, version: BigInt(String(rows[0].version)), position }
      return { walEnd: parseLsn(String(rows[0].wal_end)) }
    } finally {
      this.#storing = false
    }
  }

  /** Throws CHECKPOINT_FENCED when the row is no longer ours. */
  async confirmOwner(): Promise<void> {
    assert(this.#claim !== undefined, 'owner asked for without a claim')
    const { slot } = this.#options
    const { epoch } = this.#claim
    const rows = await this.#query('looking at the owner of the checkpoint', 'wal2rabbit_owner', ownerSql, [
      slot,
      epoch,
    ])
    if (rows.length > 0) return
    const text = `checkpoint of slot ${slot} has another owner: it no longer has epoch ${epoch}`
    throw new BridgeError('CHECKPOINT_FENCED', text)
  }

  /** From here on, until the next claim, every row may be one that was not streamed. */
  async noteUnstreamed(): Promise<void> {
    const values = [this.#options.slot, unstreamedUntilClaim]
    await this.#query('noting what is not streamed', 'wal2rabbit_unstreamed', noteUnstreamedSql, values)
  }

  /** Adds the stored LSN to the history, with a snapshot and the WAL end read after it. Undefined without a row. */
  async recordHistory(kind: HistoryKind, name: string | null = null): Promise<HistoryEntry | undefined> {
    const { client, slot } = this.#options
    return this.#guard('writing the checkpoint history', () => recordHistory(client, slot, kind, name))
  }

  /** Removes history entries that the retention does not keep. Returns how many. */
  async prune(retention: HistoryRetention): Promise<number> {
    const { client, slot } = this.#options
    return this.#guard('pruning the checkpoint history', () => pruneHistory(client, slot, retention))
  }

  /** Where the server's next WAL record goes. */
  async walEnd(): Promise<Lsn> {
    const text = 'SELECT pg_current_wal_insert_lsn()::text AS wal_end'
    const rows = await this.#query('reading the WAL end', 'wal2rabbit_wal_end', text, [])
    return parseLsn(String(rows[0]!.wal_end))
  }

  async #query(doing: string, name: string, text: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    return this.#guard(doing, async () => (await this.#options.client.query({ name, text, values })).rows)
  }

  async #guard<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const known = this.#options.toError(error, doing)
      if (known.code !== 'UNKNOWN' || isFaultOfSchema(error)) throw known
      // Whatever PostgreSQL cannot do now (a full disk, a lock timeout) is tried again; nothing is acknowledged until then.
      throw new BridgeError('CHECKPOINT_STORE_FAILED', known.message, { cause: error })
    }
  }
}

/** SQLSTATE class 42: the tables are not what this program expects, which no retry mends. */
function isFaultOfSchema(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith('42')
}
