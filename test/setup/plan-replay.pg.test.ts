import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { formatLsn, type Lsn } from '../../src/base/lsn.ts'
import { columnPresets } from '../../src/routing/column-map.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import type { FindEvent } from '../../src/setup/locate-position.ts'
import { type PlanOptions, planReplay } from '../../src/setup/plan-replay.ts'
import { type ReplayFacts, readReplayFacts } from '../../src/setup/replay-facts.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let slot: string
let facts: ReplayFacts

beforeAll(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  slot = uniqueName('plan')
  const names = { url: database.url, slot, publication: slot, table: 'public.outbox' }
  await runInit({
    ...names,
    ...{ plugin: 'pgoutput', columns: 'default', broker: undefined, dryRun: false, acceptGap: false },
  })
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

beforeEach(async () => {
  await client.query('TRUNCATE outbox, wal2rabbit.checkpoint_history')
  await client.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn()')
  facts = await readReplayFacts(client, database.url, slot)
})

const nowhere: FindEvent = async () => undefined

function plan(from: string, to?: string, changes: Partial<PlanOptions> = {}) {
  const table = { slot, table: { schema: 'public', name: 'outbox' }, columns: columnPresets.default }
  return planReplay({
    ...{ client, facts, table: { ...table, hasTransactionId: true }, findEvent: nowhere },
    ...{ from, to, source: 'auto', ...changes },
  })
}

/** Writes an entry of the history that sees nothing. */
async function entryAt(snapshotWalEnd: Lsn, storedAt = '2001-01-31 12:00:00'): Promise<void> {
  const { systemIdentifier, timeline } = facts.server
  await client.query({
    text: `INSERT INTO wal2rabbit.checkpoint_history
        (slot, lsn, events, stored_at, snapshot, snapshot_wal_end, kind, system_identifier, timeline)
      VALUES ($1, '0/1', 0, $2, '3:3:', $3, 'interval', $4, $5)`,
    values: [slot, storedAt, formatLsn(snapshotWalEnd), systemIdentifier, timeline],
  })
}

// By time the entry at 0/300 was a minute and more older than the last one; it was written five seconds before it.
test('a start some way before an event that only the table has goes by the order of the WAL', async () => {
  for (const [n, time] of ['12:00:00', '12:02:30', '12:00:05', '12:00:10'].entries()) {
    await entryAt(BigInt(0x100 * (n + 1)), `2001-01-31 ${time}`)
  }
  const { rows } = await client.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('a', '1', 'T') RETURNING id`,
  )
  const found = await plan(`event:${rows[0].id}`, undefined, { source: 'table' })
  expect(found.plan.range.from).toEqual({ lsn: 0x100n, rows: 0 })
})
