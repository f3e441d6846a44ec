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
