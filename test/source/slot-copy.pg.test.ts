import { expect, onTestFinished, test } from 'vitest'
import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { openStage, type SourceStage } from './source-stage.ts'

async function open(): Promise<SourceStage> {
  const stage = await openStage()
  onTestFinished(() => stage.close())
  return stage
}

const slotsOf = async ({ client }: SourceStage) =>
  (await client.query('SELECT slot_name, plugin FROM pg_replication_slots WHERE database = current_database()')).rows

test('a copy decodes as it is asked to, whatever the slot that it is made from was created for, and goes with its connection', async () => {
  const stage = await open()
  const { sql, slot, client } = stage
  await sql(
    `SELECT pg_drop_replication_slot('${slot}')`,
    `SELECT pg_create_logical_replication_slot('${slot}', 'test_decoding')`,
    "INSERT INTO outbox VALUES (1, 'a')",
  )
  const { rows } = await client.query(
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  )
  const reader = await stage.read(
    { lsn: parseLsn(rows[0].lsn), partial: null },
    { slot: `${slot.slice(0, 40)}_copy`, copyOf: slot },
  )
  await reader.until(() => reader.rows.length === 1)
  expect(reader.texts()).toEqual(['1'])
  expect(await slotsOf(stage)).toContainEqual({ slot_name: `${slot.slice(0, 40)}_copy`, plugin: 'pgoutput' })
  await reader.source.stop()
  await expect.poll(() => slotsOf(stage)).toEqual([{ slot_name: slot, plugin: 'test_decoding' }])
})

test('a copy that would begin above the start is refused, as PostgreSQL would begin there without a word', async () => {
  const { sql, slot, client, make } = await open()
  await sql("INSERT INTO outbox VALUES (1, 'a')", `SELECT pg_replication_slot_advance('${slot}', pg_current_wal_lsn())`)
  const { rows } = await client.query(
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  )
  const below = parseLsn(rows[0].lsn) - 1n
  const reader = make({ slot: `${slot.slice(0, 40)}_copy`, copyOf: slot })
  await expect(reader.start({ lsn: below, partial: null })).rejects.toMatchObject({
    code: 'REPLAY_OUT_OF_REACH',
    message: expect.stringContaining(`stands at ${rows[0].lsn}, expected one at or below ${formatLsn(below)}`),
  })
})

test('a copy can be copied over another connection while it is streamed, and left unread, when nothing else reaches back', async () => {
  const stage = await open()
  const { sql, slot, client } = stage
  const { rows } = await client.query(
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = '${slot}'`,
  )
  const start = { lsn: parseLsn(rows[0].lsn), partial: null }
  await sql("INSERT INTO outbox SELECT n, repeat('x', 1000) FROM generate_series(1, 5000) n")
  const first = `${slot.slice(0, 40)}_copy1`
  const unread = await stage.read(start, { slot: first, copyOf: slot })
  await unread.until(() => unread.rows.length > 0)
  unread.source.pause()
  // What it was made from is gone, and with it the WAL but for the copy.
  await sql(`SELECT pg_drop_replication_slot('${slot}')`)
  const second = await stage.read(start, { slot: `${slot.slice(0, 40)}_copy2`, copyOf: first })
  await unread.source.stop()
  await second.until(() => second.rows.length === 5000)
})
