import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { loadMigrations, type Migration } from './sql-files.ts'

/** Which numbered files a database has, seen from this program. */
export interface SchemaState {
  /** The highest version applied; 0 without the schema. */
  readonly version: number
  readonly expected: number
  /** Files still to be applied, in order. */
  readonly pending: readonly Migration[]
}

/** "w2r" and 1: the key of the advisory lock under which the schema is changed. */
const migrationLock = 0x7732_7201

/**
 * Compares the database with the numbered files. Throws SCHEMA_NEWER when the database has a file that this program does
 * not know, or knows with another content.
 */
export async function readSchemaState(client: PostgresClient, migrations: readonly Migration[]): Promise<SchemaState> {
  // From the catalog and not by to_regclass(): inside a transaction that may answer from a cache that is out of date.
  const found = await client.query({
    text: `SELECT EXISTS (SELECT FROM pg_tables
      WHERE schemaname = 'wal2rabbit' AND tablename = 'schema_migration') AS found`,
  })
  const expected = migrations.at(-1)?.version ?? 0
  if (found.rows[0]!.found !== true) return { version: 0, expected, pending: migrations }

  const { rows } = await client.query({
    text: 'SELECT version, name, checksum FROM wal2rabbit.schema_migration ORDER BY version',
  })
  for (const row of rows) {
    const known = migrations.find((migration) => migration.version === row.version)
    if (known === undefined) {
      throw new BridgeError(
        'SCHEMA_NEWER',
        `schema wal2rabbit has version ${row.version} (${row.name}), this program knows up to ${expected}`,
      )
    }
    if (known.checksum !== row.checksum) {
      throw new BridgeError(
        'SCHEMA_CHANGED',
        `${known.name} differs from the ${row.name} that was applied: its SHA-256 is ${known.checksum.slice(0, 12)}…, expected ${String(row.checksum).slice(0, 12)}…`,
      )
    }
  }
  const applied = new Set(rows.map((row) => row.version))
  return {
    version: Number(rows.at(-1)?.version ?? 0),
    expected,
    pending: migrations.filter((migration) => !applied.has(migration.version)),
  }
}

/** Before a run: the schema must be exactly the one this program knows. Throws SCHEMA_MISSING, _OLDER, _NEWER, _CHANGED. */
export async function requireSchema(client: PostgresClient, migrations?: readonly Migration[]): Promise<void> {
  const state = await readSchemaState(client, migrations ?? (await loadMigrations()))
  if (state.version === 0) throw new BridgeError('SCHEMA_MISSING', 'schema wal2rabbit does not exist in this database')
  if (state.pending.length > 0) {
    throw new BridgeError('SCHEMA_OLDER', `schema wal2rabbit has version ${state.version}, expected ${state.expected}`)
  }
}

/**
 * Applies what is pending, each file in a transaction of its own, and returns those files. Two that migrate at once take
 * turns: the second finds everything done. Writes nothing when nothing is pending.
 */
export async function migrate(client: PostgresClient, migrations: readonly Migration[]): Promise<Migration[]> {
  const done: Migration[] = []
  for (const migration of (await readSchemaState(client, migrations)).pending) {
    if (await applyOnce(client, migration, migrations)) done.push(migration)
  }
  return done
}

async function applyOnce(
  client: PostgresClient,
  migration: Migration,
  migrations: readonly Migration[],
): Promise<boolean> {
  await client.query({ text: 'BEGIN' })
  try {
    await client.query({ text: 'SELECT pg_advisory_xact_lock($1)', values: [migrationLock] })
    const { pending } = await readSchemaState(client, migrations)
    const due = pending.includes(migration)
    if (due) {
      await client.query({ text: migration.sql })
      await client.query({
        text: 'INSERT INTO wal2rabbit.schema_migration (version, name, checksum) VALUES ($1, $2, $3)',
        values: [migration.version, migration.name, migration.checksum],
      })
    }
    await client.query({ text: 'COMMIT' })
    return due
  } catch (error) {
    await client.query({ text: 'ROLLBACK' }).catch(() => undefined) // the connection may be gone; the first error counts
    throw error
  }
}
