import { readFile } from 'node:fs/promises'
import type pg from 'pg'
import type { PostgresClient } from '../../src/base/postgres-client.ts'
import { recordHistory } from '../../src/checkpoint/checkpoint-history.ts'
import { findRetentionSnapshot } from '../../src/checkpoint/history-snapshots.ts'
import type { PassReport, RetentionParts, RetentionRule } from '../../src/retention/retention.ts'
import { runPass } from '../../src/retention/retention-pass.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { readLineage } from '../../src/setup/lineage.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

export const hour = 3_600_000

/** An outbox with a checkpoint of slot `shop`, moved by hand, and a retention of one hour. */
export class RetentionStage {
  readonly database: FreshDatabase
  /** For the passes alone. */
  readonly client: pg.Client
  readonly writer: pg.Client
  readonly rule: RetentionRule = {
    slot: 'shop',
    table: { schema: 'public', name: 'outbox' },
    createdAt: ['created_at'],
    transactionId: ['transaction_id'],
    age: hour,
  }

  private constructor(database: FreshDatabase, client: pg.Client, writer: pg.Client) {
    this.database = database
    this.client = client
    this.writer = writer
  }

  static async create(outbox: 'outbox.sql' | 'outbox-partitioned.sql' = 'outbox.sql'): Promise<RetentionStage> {
    const database = await freshDatabase('retention')
    const options = { url: database.url, applicationName: 'test', statementTimeout: 20_000 }
    const stage = new RetentionStage(database, await connectControl(options), await connectControl(options))
    await migrate(stage.writer, await loadMigrations())
    await stage.writer.query(await readFile(new URL(`../../sql/${outbox}`, import.meta.url), 'utf8'))
    await stage.addSlot('shop')
    return stage
  }

  async dispose(): Promise<void> {
    await endControl(this.client)
    await endControl(this.writer)
    await this.database.drop()
  }

  async addSlot(slot: string): Promise<void> {
    const { systemIdentifier, timeline } = await readLineage(this.writer, this.database.url)
    await this.writer.query(
      `INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline)
       VALUES ($1, pg_current_wal_insert_lsn(), $2, $3)`,
      [slot, systemIdentifier, timeline],
    )
  }

  /** Inserts rows that say they are so many hours old; resolves with nothing. */
  async insert(count: number, hours: number, client: pg.Client = this.writer, note = `${hours} h`): Promise<void> {
    await client.query(
      `INSERT INTO public.outbox (aggregate_type, aggregate_id, type, created_at)
       SELECT 'order', $3, 'Event', clock_timestamp() - $2 * interval '1 hour' FROM generate_series(1, $1)`,
      [count, hours, note],
    )
  }

  /** A history entry as a running bridge writes it, as if two hours ago: old enough to delete by. */
  async record(): Promise<void> {
    const entry = await recordHistory(this.writer, 'shop', 'interval')
    await this.writer.query(
      `UPDATE wal2rabbit.checkpoint_history SET stored_at = stored_at - interval '2 hours' WHERE id = $1`,
      [entry!.id],
    )
  }

  /** As `init` does it: what has committed until now is older than the slot, or in a gap that was accepted. */
  async beginStream(slot = 'shop'): Promise<void> {
    await this.writer.query(
      'UPDATE wal2rabbit.checkpoint SET unstreamed_below = pg_current_xact_id() WHERE slot = $1',
      [slot],
    )
  }

  /** Everything that has committed until now is delivered. */
  async settle(slot = 'shop'): Promise<void> {
    await this.writer.query(`UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn() WHERE slot = $1`, [
      slot,
    ])
  }

  async pass(
    changes: Partial<RetentionRule> = {},
    dryRun = false,
    parts: Partial<RetentionParts> = {},
    client: PostgresClient = this.client,
  ): Promise<PassReport> {
    const real = { readLineage: (client: pg.Client) => readLineage(client, this.database.url), findRetentionSnapshot }
    return runPass(
      client,
      { ...this.rule, ...changes },
      { ...(real as RetentionParts), ...parts },
      {
        dryRun,
        signal: new AbortController().signal,
      },
    )
  }

  /** The notes of the rows that are left, each once with how many carry it. */
  async left(): Promise<Record<string, number>> {
    const { rows } = await this.writer.query(
      'SELECT aggregate_id AS note, count(*)::int FROM public.outbox GROUP BY 1 ORDER BY 1',
    )
    return Object.fromEntries(rows.map((row) => [row.note, row.count]))
  }

  async retentionRow(): Promise<Record<string, unknown> | undefined> {
    const { rows } = await this.writer.query(
      'SELECT table_name, floor_lsn::text AS floor, rows_deleted::int AS rows, partitions_dropped::int AS partitions FROM wal2rabbit.outbox_retention',
    )
    return rows[0]
  }
}
