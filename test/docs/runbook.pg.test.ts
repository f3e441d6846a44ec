import { readFileSync } from 'node:fs'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

// An operator in the middle of the night must be able to paste what these pages show.

const pages = ['runbook', 'security', 'operations'].map((name) => ({
  page: `docs/${name}.md`,
  text: readFileSync(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8'),
}))
const statements = pages.flatMap(({ page, text }) => {
  const blocks = [...text.matchAll(/^( *)```sql\n([\s\S]*?)```/gm)].map((match) => match[2]!)
  const inline = [...text.matchAll(/`(SELECT [^`]+;)`/g)].map((match) => match[1]!)
  return [...blocks, ...inline].map((sql) => ({ page, sql, title: sql.trim().replace(/\s+/g, ' ').slice(0, 70) }))
})
const findTheGap = statements.find(({ sql }) => sql.includes('pg_visible_in_snapshot'))!.sql

let database: FreshDatabase
let client: pg.Client
let slot: string

beforeAll(async () => {
  database = await freshDatabase()
  slot = uniqueName('runbook')
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  await init()
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

function init(acceptGap = false): Promise<unknown> {
  return runInit({
    url: database.url,
    slot,
    publication: slot,
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap,
  })
}

/** With the names of this test in the place of the example's. */
function own(sql: string, storedLsn = '16/B374D848'): string {
  return sql.replaceAll("'wal2rabbit'", `'${slot}'`).replaceAll('16/B374D848', storedLsn)
}

async function insert(type: string): Promise<void> {
  await client.query({
    text: `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload) VALUES ('order', '1', $1, '{}')`,
    values: [type],
  })
}

test.each(statements)('$page: $title', async ({ sql }) => {
  const drops = sql.includes('pg_drop_replication_slot')
  await expect(client.query(own(sql))).resolves.toBeDefined()
  if (drops) await init(true)
})

test('the query of the runbook finds what committed in the gap, and nothing that the new slot streams', async () => {
  await insert('Delivered')
  // As a bridge does that has delivered it: the stored LSN moves on, then a history entry is written.
  await client.query({
    text: 'UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn() WHERE slot = $1',
    values: [slot],
  })
  await client.query({
    text: `INSERT INTO wal2rabbit.checkpoint_history
        (slot, lsn, events, snapshot, snapshot_wal_end, kind, system_identifier, timeline)
      SELECT slot, lsn, 1, pg_current_snapshot(), pg_current_wal_insert_lsn(), 'interval', system_identifier, timeline
      FROM wal2rabbit.checkpoint WHERE slot = $1`,
    values: [slot],
  })
  const stored = await client.query<{ lsn: string }>({
    text: `UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_insert_lsn() WHERE slot = $1 RETURNING lsn::text`,
    values: [slot],
  })
  await client.query({ text: 'SELECT pg_drop_replication_slot($1)', values: [slot] })
  await insert('Lost1')
  await insert('Lost2')
  await init(true)
  await insert('Streamed')
  const { rows } = await client.query(own(findTheGap, stored.rows[0]!.lsn))
  expect(rows.map((row) => row.type)).toEqual(['Lost1', 'Lost2'])
})
