import { formatLsn, type Lsn } from '../../../src/base/lsn.ts'
import type { WitnessedRow } from '../checkers/history.ts'

/** Runs one statement, on a connection that lasts at least as long as that. */
export type Query = (sql: string, values?: unknown[]) => Promise<Record<string, unknown>[]>

/** The witness's slot beside the live slot of that name. */
export function witnessSlot(slot: string): string {
  return `${slot}_w`
}

const publication = 'rig_witness'
const changesAtOnce = 20_000

/**
 * A second logical slot with a publication of its own, read by SQL: the oracle for what committed, where and in which
 * order. It peeks and only then advances, and knows rows by id, so that a crash in between costs nothing.
 */
export class Witness {
  /** In commit order. */
  readonly rows: WitnessedRow[] = []
  readonly #query: Query
  readonly #slot: string
  readonly #seen = new Set<string>()

  private constructor(query: Query, slot: string) {
    this.#query = query
    this.#slot = slot
  }

  /** The first column of the table must be the id. */
  static async create(query: Query, slot: string, table: string): Promise<Witness> {
    await query(`CREATE PUBLICATION ${publication} FOR TABLE ${table} WITH (publish = 'insert')`)
    await query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
    return new Witness(query, slot)
  }

  /** Reads on to the end of what has committed. */
  async read(): Promise<void> {
    for (let more = true; more; ) more = await this.#readSome()
  }

  async drop(): Promise<void> {
    await this.#query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [
      this.#slot,
    ])
  }

  /** Whole transactions: the limit is looked at after each. */
  async #readSome(): Promise<boolean> {
    const changes = await this.#query(
      `SELECT substring(data FROM 1 FOR 64) AS data
       FROM pg_logical_slot_peek_binary_changes($1, NULL, $3, 'proto_version', '1', 'publication_names', $2)`,
      [this.#slot, publication, changesAtOnce],
    )
    const end = this.#take(changes.map(({ data }) => data).filter((data) => Buffer.isBuffer(data)))
    if (end !== undefined) await this.#query('SELECT pg_replication_slot_advance($1, $2)', [this.#slot, formatLsn(end)])
    return changes.length >= changesAtOnce
  }

  /** The end LSN of the last transaction. Format: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html */
  #take(messages: readonly Buffer[]): Lsn | undefined {
    let commitLsn: Lsn = 0n
    let ordinal = 0
    let end: Lsn | undefined
    for (const data of messages) {
      const kind = String.fromCharCode(data[0] ?? 0)
      if (kind === 'B') {
        commitLsn = data.readBigUInt64BE(1)
        ordinal = 0
      } else if (kind === 'C') {
        end = data.readBigUInt64BE(10)
      } else if (kind === 'I') {
        // I, relation (4), N, number of columns (2), t, length (4), the id
        const id = data.toString('latin1', 13, 13 + data.readInt32BE(9))
        if (!this.#seen.has(id)) {
          this.#seen.add(id)
          this.rows.push({ id, commitLsn, ordinal })
        }
        ordinal++
      }
    }
    return end
  }
}
