import { readFile } from 'node:fs/promises'
import type pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseTableName } from '../../src/base/sql.ts'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { runCheck } from '../../src/setup/check.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { verifyOutbox } from '../../src/setup/outbox-guard.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client

beforeEach(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
})

afterEach(async () => {
  await endControl(client)
  await database.drop()
})

const names = { publication: 'outbox_events', table: 'public.outbox', columns: 'default' } as const
const init = { ...names, broker: undefined, dryRun: false, acceptGap: false }

test('wal2json with a partitioned outbox is refused by init, check and each session', async () => {
  await client.query(await readFile(new URL('../../sql/outbox-partitioned.sql', import.meta.url), 'utf8'))
  const slot = uniqueName('guard')
  const refused = { code: 'TABLE_PARTITIONED', message: expect.stringContaining('wal2json names the partition') }
  await expect(runInit({ ...init, url: database.url, slot, plugin: 'wal2json' })).rejects.toMatchObject(refused)
  const guarded = { publication: 'p', table: parseTableName(names.table), columns: resolveColumns('default') }
  await expect(verifyOutbox(client, { ...guarded, plugin: 'wal2json' })).rejects.toMatchObject(refused)
  const findings = await runCheck({
    ...names,
    url: database.url,
    slot,
    plugin: 'wal2json',
    replayWindow: { time: 0, bytes: 0 },
    retention: 0,
    broker: undefined,
  })
  expect(findings).toContainEqual(
    expect.objectContaining({ name: 'table', ok: false, remedy: expect.stringContaining('source.plugin to pgoutput') }),
  )
  // The same table is fine with pgoutput.
  await runInit({ ...init, url: database.url, slot, plugin: 'pgoutput' })
})

test('of the names of a mapped column the table must have one, and tells of itself when it has none', async () => {
  await runInit({ ...init, url: database.url, slot: uniqueName('guard'), plugin: 'pgoutput' })
  const verify = (payload: readonly string[]) =>
    verifyOutbox(client, {
      publication: names.publication,
      table: parseTableName(names.table),
      columns: resolveColumns({ payload }),
      plugin: 'pgoutput',
    })
  await verify(['body', 'payload'])
  await client.query('ALTER TABLE outbox RENAME payload TO body')
  await verify(['body', 'payload'])
  await expect(verify(['payload', 'content'])).rejects.toMatchObject({
    code: 'COLUMN_MISSING',
    message: expect.stringMatching(/^table public\.outbox has no column "payload" or "content"/),
  })
})

test('an output plugin that the server does not list is told with the name of the setting', async () => {
  const known = await client.query(`SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'`)
  if (known.rowCount === 0) return // it came with 15.19, 16.15, 17.11 and 18.6
  const url = `${database.url}?options=${encodeURIComponent('-c output_plugin_libraries=pgoutput')}`
  const failed = runInit({ ...init, url, slot: uniqueName('guard'), plugin: 'wal2json' })
  await expect(failed).rejects.toMatchObject({
    code: 'SOURCE_PLUGIN_MISSING',
    message: expect.stringContaining('output_plugin_libraries'),
    remedy: expect.stringContaining('output_plugin_libraries'),
  })
})

test('a table that left its publication and came back is told from one that was there all the time', async () => {
  await runInit({ ...init, url: database.url, slot: uniqueName('guard'), plugin: 'pgoutput' })
  const guarded = { ...names, plugin: 'pgoutput', table: parseTableName(names.table) } as const
  const look = () => verifyOutbox(client, { ...guarded, columns: resolveColumns('default') })
  const first = await look()
  await client.query('CREATE TABLE other (n int); ALTER PUBLICATION outbox_events ADD TABLE other')
  await client.query('ALTER TABLE public.outbox ADD COLUMN more text')
  await client.query('VACUUM FREEZE pg_publication_rel')
  expect(await look()).toBe(first)
  await client.query('ALTER PUBLICATION outbox_events DROP TABLE public.outbox')
  await client.query('ALTER PUBLICATION outbox_events ADD TABLE public.outbox')
  const second = await look()
  expect(second).not.toBe(first)
  await client.query(`ALTER PUBLICATION outbox_events SET (publish = 'insert, update')`)
  expect(await look()).not.toBe(second)
})
