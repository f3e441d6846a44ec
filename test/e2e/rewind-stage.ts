import { onTestFinished } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { type CommandOptions, type CommandResult, runCommand } from '../support/bridge-process.ts'
import type { Collector } from '../support/collector.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { Witness, type WitnessedRow } from '../support/witness.ts'

/** A stage whose bridge keeps an anchor from its first start on, a witness, and a count of what arrived when. */
export class RewindStage {
  readonly stage: Stage
  readonly database: FreshDatabase
  readonly collector: Collector
  readonly #witness: Witness
  readonly witnessed: WitnessedRow[] = []

  private constructor(stage: Stage, database: FreshDatabase, collector: Collector, witness: Witness) {
    this.stage = stage
    this.database = database
    this.collector = collector
    this.#witness = witness
  }

  static async create(): Promise<RewindStage> {
    const database = await freshDatabase()
    onTestFinished(() => database.drop())
    const stage = await Stage.create({
      databaseUrl: database.url,
      amqpUrl: sharedRabbit().url,
      env: { WAL2RABBIT_CHECKPOINT_INTERVAL: '50ms' },
    })
    onTestFinished(() => stage.dispose())
    const witness = await Witness.create(database.url, `${stage.name}_w`, 'wal2rabbit')
    return new RewindStage(stage, database, await stage.collector(), witness)
  }

  /** Starts the bridge; resolves when it streams and an anchor is there. */
  async start(): Promise<void> {
    this.stage.bridge.start()
    const isReady = (window: { readonly anchors: readonly unknown[] } | null) =>
      window !== null && window.anchors.length > 0
    await this.stage.bridge.until((status) => status.state === 'streaming' && isReady(status.replayWindow), 60_000)
  }

  /** One transaction of so many events. */
  async write(events: number): Promise<void> {
    await this.stage.query(
      `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
       SELECT 'order', '1', 'T', '{}' FROM generate_series(1, $1)`,
      [events],
    )
  }

  async writeTransactions(count: number): Promise<void> {
    for (let n = 0; n < count; n++) await this.write(1 + (n % 3))
  }

  /** All that committed so far and is at or above `lsn`, as the witness saw it: what a stream from there gives. */
  async from(lsn: string): Promise<string[]> {
    this.witnessed.push(...(await this.#witness.read()))
    return this.witnessed.filter(({ commitLsn }) => parseLsn(commitLsn) >= parseLsn(lsn)).map(positionText)
  }

  /** How many events a bridge that began at `lsn` and was stopped in order has delivered: all up to the stored position. */
  async deliveredFrom(lsn: string): Promise<number> {
    await this.from(lsn)
    const [row] = await this.stage.query(
      'SELECT lsn::text, partial_commit_lsn::text AS commit_lsn, partial_rows::int AS rows FROM wal2rabbit.checkpoint',
    )
    const stored = parseLsn(String(row!.lsn))
    return this.witnessed.filter(({ commitLsn, ordinal }) => {
      const at = parseLsn(commitLsn)
      const isSettled = at < stored || (commitLsn === row!.commit_lsn && ordinal < Number(row!.rows))
      return at >= parseLsn(lsn) && isSettled
    }).length
  }

  /** Deliveries from the `index`-th on, in order of arrival. */
  arrivedFrom(index: number): string[] {
    return this.collector.deliveries.slice(index).map(positionText)
  }

  async caughtUp(count: number, what: string): Promise<void> {
    await this.collector.until(() => this.collector.deliveries.length >= count, 60_000, what)
  }

  rewind(args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return runCommand(['rewind', ...args], this.stage.bridge.env, options)
  }

  /** What nobody may change while a rewind is unfinished. */
  async bookkeeping(): Promise<unknown> {
    const rows = await this.stage.query('SELECT lsn::text, epoch, version FROM wal2rabbit.checkpoint')
    return { rows, slots: await this.slots() }
  }

  /** Slots but for the witness's, with their positions. */
  async slots(): Promise<Record<string, unknown>> {
    const rows = await this.stage.query(
      `SELECT slot_name, confirmed_flush_lsn::text AS lsn FROM pg_replication_slots
       WHERE database = current_database() AND slot_name <> $1 ORDER BY slot_name`,
      [`${this.stage.name}_w`],
    )
    return Object.fromEntries(rows.map(({ slot_name, lsn }) => [slot_name, lsn]))
  }

  /** Names of slots that are neither the live one nor an anchor. */
  async straySlots(): Promise<string[]> {
    const { name } = this.stage
    return Object.keys(await this.slots()).filter((slot) => slot !== name && !slot.startsWith(`${name}_anchor_`))
  }
}

function positionText({ id, commitLsn, ordinal }: WitnessedRow): string {
  return `${id} ${commitLsn}#${ordinal}`
}
