import pg from 'pg'

/** One committed outbox row as an independent slot saw it, in commit order. */
export interface WitnessedRow {
  readonly id: string
  readonly commitLsn: string
  readonly ordinal: number
}

/**
 * A second logical slot on the same table, read by SQL with a decoder of its own: the oracle for what committed and in
 * which order. The first column of the table must be the id.
 */
export class Witness {
  readonly #url: string
  readonly #slot: string
  readonly #publication: string

  private constructor(url: string, slot: string, publication: string) {
    this.#url = url
    this.#slot = slot
    this.#publication = publication
  }

  static async create(url: string, slot: string, publication: string): Promise<Witness> {
    const witness = new Witness(url, slot, publication)
    await witness.#query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [slot])
    return witness
  }

  /** Everything since the last read (the slot advances). */
  async read(): Promise<WitnessedRow[]> {
    const result = await this.#query(
      `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2)`,
      [this.#slot, this.#publication],
    )
    const rows: WitnessedRow[] = []
    let commitLsn = ''
    let ordinal = 0
    for (const { data } of result.rows as { data: Buffer }[]) {
      const kind = String.fromCharCode(data[0]!)
      if (kind === 'B') {
        commitLsn = `${data.readUInt32BE(1).toString(16).toUpperCase()}/${data.readUInt32BE(5).toString(16).toUpperCase()}`
        ordinal = 0
      } else if (kind === 'I') {
        const length = data.readInt32BE(9)
        rows.push({ id: data.toString('utf8', 13, 13 + length), commitLsn, ordinal: ordinal++ })
      }
    }
    return rows
  }

  async drop(): Promise<void> {
    await this.#query('SELECT pg_drop_replication_slot($1)', [this.#slot])
  }

  async #query(sql: string, values: unknown[]) {
    const client = new pg.Client({ connectionString: this.#url })
    await client.connect()
    try {
      return await client.query(sql, values)
    } finally {
      await client.end()
    }
  }
}
