import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import { canInstallWithApt, installWithApt } from './apt.ts'
import { asSuperuser, sharedPostgres } from './shared.ts'

/** Whether the server (default: the shared one) can load wal2json: asked with a temporary slot. */
export function hasWal2json(url = sharedPostgres().url): Promise<boolean> {
  return asSuperuser(url, canLoad)
}

/**
 * Installs wal2json where that is possible: Debian's package for Debian's server, as root. `reason` is for the test's
 * skip note.
 */
export async function ensureWal2json(url = sharedPostgres().url): Promise<{ available: boolean; reason: string }> {
  return asSuperuser(url, async (client) => {
    if (await canLoad(client)) return { available: true, reason: 'the server loads it' }
    const { rows } = await client.query<{ setting: string }>("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")
    const libraries = rows[0]?.setting ?? ''
    const major = /^\/usr\/lib\/postgresql\/(\d+)\/lib$/.exec(libraries)?.[1]
    if (major === undefined || !existsSync(libraries)) {
      return { available: false, reason: `no wal2json package for a server with libraries in ${libraries}` }
    }
    if (!canInstallWithApt())
      return { available: false, reason: `apt-get install postgresql-${major}-wal2json is missing` }
    if (!existsSync(join(libraries, 'wal2json.so'))) await installWithApt([`postgresql-${major}-wal2json`])
    return { available: await canLoad(client), reason: `postgresql-${major}-wal2json was installed with apt-get` }
  })
}

async function canLoad(client: pg.Client): Promise<boolean> {
  const slot = `wal2json_probe_${process.pid}`
  try {
    await client.query("SELECT pg_create_logical_replication_slot($1, 'wal2json', true)", [slot])
  } catch (error) {
    // 58P01: the library cannot be found.
    if (error instanceof Error && 'code' in error && error.code === '58P01') return false
    throw error
  }
  await client.query('SELECT pg_drop_replication_slot($1)', [slot])
  return true
}
