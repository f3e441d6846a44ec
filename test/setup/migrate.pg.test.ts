import type pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate, readSchemaState, requireSchema } from '../../src/setup/migrate.ts'
import { loadMigrations, type Migration } from '../../src/setup/sql-files.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
const known = await loadMigrations()
const next: Migration = { version: 900, name: '900_next.sql', sql: 'CREATE TABLE wal2rabbit.next ()', checksum: 'c' }

const connect = () => connectControl({ url: database.url, applicationName: 'test', statementTimeout: 10_000 })
const names = (migrations: readonly Migration[]) => migrations.map((migration) => migration.name)

beforeEach(async () => {
  database = await freshDatabase()
  client = await connect()
})

afterEach(async () => {
  await endControl(client)
  await database.drop()
})

test('an empty database gets every file once', async () => {
  expect(names(await migrate(client, known))).toEqual(names(known))
  expect(await migrate(client, known)).toEqual([])
  const { rows } = await client.query('SELECT name, checksum FROM wal2rabbit.schema_migration ORDER BY version')
  expect(rows).toEqual(known.map(({ name, checksum }) => ({ name, checksum })))
})

test('slots from before version 3: nothing counts as streamed that may not have been', async () => {
  await migrate(client, known.slice(0, 2))
  const entry = async (slot: string, kind: string): Promise<string> => {
    const { rows } = await client.query(
      `INSERT INTO wal2rabbit.checkpoint_history (slot, lsn, events, snapshot, snapshot_wal_end, kind, name, system_identifier, timeline)
       VALUES ($1, '0/1', 0, pg_current_snapshot(), '0/1', $2, $2, '1', 1) RETURNING pg_current_xact_id()::text AS id`,
      [slot, kind],
    )
    return rows[0].id
  }
  await client.query(`INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline)
    SELECT slot, '0/1', '1', 1 FROM unnest('{plain,gap,marked,bare}'::text[]) slot`)
  const ids = { plain: '', gap: '', marked: '' }
  await entry('marked', 'mark')
  ids.plain = await entry('plain', 'start')
  ids.marked = await entry('marked', 'interval')
  await entry('gap', 'start')
  ids.gap = await entry('gap', 'gap')
  for (const slot of Object.keys(ids)) await entry(slot, 'interval')
  const { rows } = await client.query('SELECT pg_current_xact_id()::text AS id')
  await migrate(client, known)
  const stored = await client.query('SELECT slot, unstreamed_below::text AS below FROM wal2rabbit.checkpoint')
  const { bare, ...others } = Object.fromEntries(stored.rows.map(({ slot, below }) => [slot, below]))
  expect(others).toEqual(ids)
  expect(BigInt(bare)).toBeGreaterThan(BigInt(rows[0].id))
})

test('two that migrate at once take turns', async () => {
  const others = await Promise.all([connect(), connect(), connect()])
  const done = await Promise.all([client, ...others].map((connection) => migrate(connection, [...known, next])))
  expect(
    done
      .flat()
      .map((migration) => migration.name)
      .sort(),
  ).toEqual(names([...known, next]))
  await Promise.all(others.map((connection) => endControl(connection)))
})

test('an older schema gets only what it lacks, and a run refuses it until then', async () => {
  await migrate(client, known)
  const newer = [...known, next]
  await expect(requireSchema(client, newer)).rejects.toMatchObject({
    code: 'SCHEMA_OLDER',
    message: expect.stringContaining('expected 900'),
  })
  expect(names(await migrate(client, newer))).toEqual(['900_next.sql'])
  await requireSchema(client, newer)
})

test('a newer schema is refused by init and run alike', async () => {
  await migrate(client, [...known, next])
  await expect(migrate(client, known)).rejects.toMatchObject({
    code: 'SCHEMA_NEWER',
    message: expect.stringContaining('version 900 (900_next.sql)'),
  })
  await expect(requireSchema(client)).rejects.toMatchObject({ code: 'SCHEMA_NEWER', action: 'halt' })
})

test('a file that was changed after it was applied is refused', async () => {
  await migrate(client, known)
  const edited = known.map((migration) => ({ ...migration, checksum: 'edited' }))
  await expect(migrate(client, edited)).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' })
  await expect(requireSchema(client, edited)).rejects.toMatchObject({ code: 'SCHEMA_CHANGED' })
})

test('a file that fails leaves nothing behind, and the connection usable', async () => {
  const broken = { ...next, sql: 'CREATE TABLE wal2rabbit.half (); SELECT 1/0' }
  await expect(migrate(client, [...known, broken])).rejects.toThrow('division by zero')
  const { rows } = await client.query(`SELECT to_regclass('wal2rabbit.half') AS half`)
  expect(rows).toEqual([{ half: null }])
  expect(await readSchemaState(client, known)).toMatchObject({ version: known.length, pending: [] })
})

test('without a schema a run says so', async () => {
  await expect(requireSchema(client)).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
})
