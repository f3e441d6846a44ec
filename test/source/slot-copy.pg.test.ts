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
