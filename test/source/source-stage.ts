import pg from 'pg'
import { clientConfigFromUrl } from '../../src/base/postgres-url.ts'
import type { TableName } from '../../src/base/sql.ts'
import { PostgresSource, type PostgresSourceOptions } from '../../src/source/postgres-source.ts'
import type { Source, SourceEvent, SourceRow, StartPosition } from '../../src/source/source.ts'
import { freshDatabase, uniqueName } from '../support/services.ts'

/** 0/0: where the slot stands. */
export const fromSlot: StartPosition = { lsn: 0n, partial: null }

/** A database of its own with an outbox (`id int, payload text`), a publication of it and a slot. */
export interface SourceStage {
  readonly client: pg.Client
  readonly url: string
  readonly slot: string
  /** Runs each statement by itself. */
  sql(...statements: string[]): Promise<void>
  confirmedFlush(): Promise<string>
  /** A source that is made but not started. */
  make(options?: Partial<PostgresSourceOptions>): SourceReader
  /** Starts a source and lets it run. */
  read(position?: StartPosition, options?: Partial<PostgresSourceOptions>): Promise<SourceReader>
  /** Stops all sources and drops the database with its slots. */
  close(): Promise<void>
}

export interface StageOptions {
  readonly plugin?: 'pgoutput' | 'wal2json'
  readonly columns?: string
  readonly partitionBy?: string
  /** Statements before the table is made. */
  readonly before?: readonly string[]
  /** `WITH` options of the publication; default: those of createPublication. */
  readonly publish?: string
}

const table: TableName = { schema: 'public', name: 'outbox' }

export async function openStage(options: StageOptions = {}): Promise<SourceStage> {
  const { plugin = 'pgoutput', columns = 'id int, payload text', partitionBy = '', publish, before = [] } = options
  const database = await freshDatabase('source')
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => {}) // ends with the database
  await client.connect()
  const slot = uniqueName('source')
  const sql = async (...statements: string[]) => {
    for (const statement of statements) await client.query(statement)
  }
  await sql(
    ...before,
    `CREATE TABLE outbox (${columns}) ${partitionBy}`,
    `CREATE PUBLICATION "the pub" FOR TABLE outbox WITH (${publish ?? "publish = 'insert', publish_via_partition_root = true"})`,
    `SELECT pg_create_logical_replication_slot('${slot}', '${plugin}')`,
  )
  const readers: SourceReader[] = []
  const make = (more: Partial<PostgresSourceOptions> = {}) => {
    const reader = new SourceReader(
      new PostgresSource({
        connection: clientConfigFromUrl(database.url),
        slot,
        plugin,
        publication: 'the pub',
        table,
        isWalsenderAlive: async () => true,
        ...more,
      }),
    )
    readers.push(reader)
    return reader
  }
  return {
    client,
    url: database.url,
    slot,
    sql,
    make,
    async confirmedFlush() {
      const text = 'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1'
      return (await client.query<{ lsn: string }>(text, [slot])).rows[0]!.lsn
    },
    async read(position = fromSlot, more = {}) {
      const reader = make(more)
      await reader.start(position)
      reader.source.resume()
      return reader
    },
    async close() {
      await Promise.all(readers.map((reader) => reader.source.stop()))
      await client.end()
      await database.drop()
    },
  }
}

/** A source and what came out of it. */
export class SourceReader<S extends Source = PostgresSource> {
  readonly source: S
  readonly events: SourceEvent[] = []
  /** Sizes of the batches that onEvents got. */
  readonly batches: number[] = []
  readonly ends: (Error | undefined)[] = []
  /** Called with each batch, before it is looked at. */
  onBatch: (events: SourceEvent[]) => void = () => {}
  /** False: events are not kept (for streams that are too large). */
  keeps = true
  #wake: () => void = () => {}

  constructor(source: S) {
    this.source = source
  }

  start(position: StartPosition): Promise<void> {
    return this.source.start(position, {
      onEvents: (events) => {
        this.batches.push(events.length)
        if (this.keeps) this.events.push(...events)
        this.onBatch(events)
        this.#wake()
      },
      onEnd: (error) => {
        this.ends.push(error)
        this.#wake()
      },
    })
  }

  get rows(): SourceRow[] {
    return this.events.filter((event) => event.kind === 'row')
  }

  /** Column `index` of all rows so far. */
  texts(index = 0): (string | null)[] {
    return this.rows.map((row) => row.tuple.text(index))
  }

  /** Waits for the condition, which is looked at after each batch and at the end; at most 20 s. */
  async until(condition: () => boolean): Promise<void> {
    const deadline = setTimeout(() => this.#fail(), 20_000)
    let failed = false
    this.#fail = () => {
      failed = true
      this.#wake()
    }
    while (!condition() && !failed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    clearTimeout(deadline)
    if (failed) throw new Error(`waited in vain: ${this.events.length} events, ends: ${this.ends.map(String)}`)
  }

  /** The error that the stream ended with. */
  async end(): Promise<Error | undefined> {
    await this.until(() => this.ends.length > 0)
    return this.ends[0]
  }

  #fail: () => void = () => {}
}

/** Looks every 20 ms, at most 10 s: for what the server shows in its views only. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('it never came')
}
