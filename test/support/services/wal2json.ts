import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import { canInstallWithApt, installWithApt } from './apt.ts'
import { asSuperuser, sharedPostgres } from './shared.ts'

/** Whether the server (default: the shared one) lets wal2json be used: asked with a temporary slot. */
export function hasWal2json(url = sharedPostgres().url): Promise<boolean> {
  return asSuperuser(url, async (client) => (await probe(client)) === 'usable')
}

/**
 * Installs wal2json where that is possible, Debian's package for Debian's server as root, and allows it. `reason` is for
 * the test's skip note.
 */
export async function ensureWal2json(url = sharedPostgres().url): Promise<{ available: boolean; reason: string }> {
  return asSuperuser(url, async (client) => {
    if ((await probe(client)) === 'missing') {
      const obstacle = await install(client)
      if (obstacle !== undefined) return { available: false, reason: obstacle }
    }
    if ((await probe(client)) === 'refused') await allow(client)
    const answer = await probe(client)
    return { available: answer === 'usable', reason: `wal2json is ${answer}` }
  })
}

async function probe(client: pg.Client): Promise<'usable' | 'missing' | 'refused'> {
  const slot = `wal2json_probe_${process.pid}`
  try {
    await client.query("SELECT pg_create_logical_replication_slot($1, 'wal2json', true)", [slot])
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === '58P01') return 'missing'
    if (code === '42501') return 'refused'
    throw error
  }
  await client.query('SELECT pg_drop_replication_slot($1)', [slot])
  return 'usable'
}

/** Gives the obstacle where it cannot be installed. */
async function install(client: pg.Client): Promise<string | undefined> {
  const { rows } = await client.query<{ setting: string }>("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")
  const libraries = rows[0]?.setting ?? ''
  const major = /^\/usr\/lib\/postgresql\/(\d+)\/lib$/.exec(libraries)?.[1]
  if (major === undefined || !existsSync(libraries))
    return `no wal2json package for a server with libraries in ${libraries}`
  if (existsSync(join(libraries, 'wal2json.so'))) return undefined
  if (!canInstallWithApt()) return `wal2json is missing: apt-get install postgresql-${major}-wal2json`
  await installWithApt([`postgresql-${major}-wal2json`])
  return undefined
}

/** Since 15.19 and its contemporaries only libraries listed in output_plugin_libraries may be output plugins. */
async function allow(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ libraries: string }>(
    "SELECT current_setting('output_plugin_libraries') AS libraries",
  )
  const listed = (rows[0]?.libraries ?? '').split(',').map((name) => name.trim())
  const libraries = [...listed, 'wal2json'].filter((name) => name !== '').map((name) => `'${name}'`)
  await client.query(`ALTER SYSTEM SET output_plugin_libraries = ${libraries.join(', ')}`)
  await client.query('SELECT pg_reload_conf()')
  for (let attempt = 0; attempt < 100 && (await probe(client)) === 'refused'; attempt += 1) {
    await client.query('SELECT pg_sleep(0.05)')
  }
}
