import { afterEach, expect, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { createPublication, inspectPublication, publicationProblem } from '../../src/source/publication.ts'
import { createSlot, inspectSlot, slotInvalidation } from '../../src/source/slot.ts'
import { inspectTable } from '../../src/source/table.ts'
import { eventually, openStage, type SourceStage, type StageOptions } from './source-stage.ts'

let stage: SourceStage | undefined
const open = async (options?: StageOptions) => {
  stage = await openStage(options)
  return stage
}
afterEach(() => stage?.close())

const outbox = { schema: 'public', name: 'outbox' }

test('a slot is described; one that does not exist is undefined', async () => {
  const { client, slot, read, sql } = await open()
  expect(await inspectSlot(client, 'source_nobody')).toBeUndefined()
  const idle = (await inspectSlot(client, slot))!
  const { rows } = await client.query('SELECT current_database() AS name')
  expect(idle).toMatchObject({
    plugin: 'pgoutput',
    database: rows[0].name,
    temporary: false,
    active: false,
    activePid: undefined,
    walStatus: 'reserved',
    conflicting: false,
    failover: false,
    invalidationReason: undefined,
  })
  expect(slotInvalidation(idle)).toBeUndefined()
  expect(idle.confirmedFlushLsn).toBeGreaterThan(idle.restartLsn!)
  await sql("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
  expect((await inspectSlot(client, slot))!.retainedBytes).toBeGreaterThan(idle.retainedBytes)
  const reader = await read()
  const active = (await inspectSlot(client, slot))!
  expect(active.active).toBe(true)
  expect(active.activePid).toBeGreaterThan(0)
  await reader.source.stop()
  await eventually(async () => (await inspectSlot(client, slot))!.active === false)
})

test('a slot that is created is given with the LSN from which on it has everything', async () => {
  const { client, slot } = await open()
  const name = `${slot.slice(0, 40)}_made`
  const lsn = await createSlot(client, name, 'pgoutput')
  expect((await inspectSlot(client, name))!.confirmedFlushLsn).toBe(lsn)
  const { rows } = await client.query('SELECT pg_current_wal_lsn()::text AS lsn')
  expect(lsn).toBeLessThanOrEqual(parseLsn(rows[0].lsn))
  await expect(createSlot(client, name, 'pgoutput')).rejects.toMatchObject({ code: '42710' })
})

test('a publication that is made here is right for a plain and for a partitioned table', async () => {
  for (const partitionBy of ['', 'PARTITION BY RANGE (id)']) {
    const { client, sql, close } = await openStage({ partitionBy })
    try {
      await sql('CREATE TABLE "Odd ""name" (id int)')
      await createPublication(client, 'made here', outbox)
      const facts = await inspectPublication(client, 'made here', outbox)
      expect(facts).toMatchObject({ exists: true, insert: true, holdsTable: true, viaRoot: true })
      expect(facts.tableIsPartitioned).toBe(partitionBy !== '')
      expect(publicationProblem(facts, [['id'], ['payload']])).toBeUndefined()
      await createPublication(client, 'odd', { schema: 'public', name: 'Odd "name' })
      expect((await inspectPublication(client, 'odd', { schema: 'public', name: 'Odd "name' })).holdsTable).toBe(true)
    } finally {
      await close()
    }
  }
})

test('each way in which a publication falls short is found and comes with the SQL that mends it', async () => {
  const { client, sql } = await open({ partitionBy: 'PARTITION BY RANGE (id)' })
  await sql('CREATE TABLE low PARTITION OF outbox FOR VALUES FROM (0) TO (10)', 'CREATE TABLE other (id int)')
  const problem = async (publication: string) =>
    publicationProblem(await inspectPublication(client, publication, outbox), [['id'], ['payload']])
  expect(await problem('nobody')).toContain('does not exist')
  await sql('CREATE PUBLICATION a FOR TABLE other')
  expect(await problem('a')).toContain('ADD TABLE "public"."outbox"')
  await sql("CREATE PUBLICATION b FOR TABLE outbox WITH (publish = 'update', publish_via_partition_root = true)")
  expect(await problem('b')).toContain("SET (publish = 'insert')")
  await sql('CREATE PUBLICATION c FOR TABLE outbox')
  expect(await problem('c')).toContain('SET (publish_via_partition_root = true)')
  await sql('CREATE PUBLICATION d FOR ALL TABLES WITH (publish_via_partition_root = true)')
  expect(await problem('d')).toBeUndefined()
})

test('from PostgreSQL 15 on a column list that hides a mapped column is a problem, a row filter is only told', async (context) => {
  const { client, sql } = await open()
  const { rows } = await client.query("SELECT current_setting('server_version_num')::int AS version")
  if (rows[0].version < 150_000) return context.skip('PostgreSQL 14 has neither')
  await sql('CREATE PUBLICATION a FOR TABLE outbox (id) WHERE (id > 5)')
  const facts = await inspectPublication(client, 'a', outbox)
  expect(facts).toMatchObject({ holdsTable: true, columnList: ['id'], rowFilter: '(id > 5)' })
  expect(publicationProblem(facts, [['id'], ['payload']])).toContain('leaves out the columns "payload"')
  expect(publicationProblem(facts, [['id']])).toBeUndefined()
  expect(publicationProblem(facts, [['key', 'id']])).toBeUndefined()
  expect(publicationProblem(facts, [['id'], ['body', 'payload']])).toContain('the columns "body" or "payload" of')
  const whole = await inspectPublication(client, 'the pub', outbox)
  expect(whole).toMatchObject({ columnList: undefined, rowFilter: undefined })
})

test('a table is described with the types that the stream will name', async () => {
  const { client, sql } = await open({
    columns: 'id uuid NOT NULL, payload jsonb, n int GENERATED ALWAYS AS (1) STORED',
  })
  await sql('CREATE UNLOGGED TABLE loose (id int)', 'CREATE TABLE parts (id int) PARTITION BY LIST (id)')
  expect(await inspectTable(client, { schema: 'public', name: 'nobody' })).toBeUndefined()
  expect(await inspectTable(client, outbox)).toEqual({
    partitioned: false,
    logged: true,
    columns: [
      { name: 'id', type: 'uuid', notNull: true, generated: false },
      { name: 'payload', type: 'jsonb', notNull: false, generated: false },
      { name: 'n', type: 'int4', notNull: false, generated: true },
    ],
  })
  expect((await inspectTable(client, { schema: 'public', name: 'loose' }))!.logged).toBe(false)
  expect((await inspectTable(client, { schema: 'public', name: 'parts' }))!.partitioned).toBe(true)
})
