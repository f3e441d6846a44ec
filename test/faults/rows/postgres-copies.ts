import { execFile } from 'node:child_process'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type PostgresService, startPostgres } from '../../support/services.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures } from '../row.ts'
import { until } from './postgres-halt.ts'

const run = promisify(execFile)

/** A row that is not played here, and why: it ends in the table as such, with 0 runs. */
export function skipped(why: string): Figures {
  return {
    runs: 0,
    events: 0,
    lost: 0,
    outOfOrder: 0,
    repeated: 0,
    recovery_ms: null,
    violations: [],
    note: `skipped: ${why}`,
  }
}

export const noFolder = 'the data folder is not on this machine'

/** Of a stopped server: with owners and permissions, as PostgreSQL insists on them. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await run('cp', ['-a', from, to])
}

/** A copy of the data folder at this moment; PostgreSQL is stopped for it and runs again afterwards. */
export async function backUp({ service }: { readonly service: PostgresService }, folder: string): Promise<string> {
  const copy = `${folder}-copy`
  await rm(copy, { recursive: true, force: true })
  await service.stop('fast')
  await copyFolder(folder, copy)
  await service.start()
  return copy
}

/** Puts the copy in the place of the data folder. */
export async function restore({ service }: { readonly service: PostgresService }, folder: string): Promise<void> {
  await service.stop('fast')
  await rm(folder, { recursive: true })
  await rename(`${folder}-copy`, folder)
  await service.start()
}

export interface StandbyOptions {
  /** Slots that it is not to have. */
  readonly without?: readonly string[]
  /** Beside those that make it follow. */
  readonly settings?: Readonly<Record<string, string>>
}

/** A stand-by of the scene's server that follows it, made from its data folder. */
export async function startStandby(
  rig: Rig,
  { postgres, database }: Scene,
  folder: string,
  { without = [], settings = {} }: StandbyOptions,
): Promise<PostgresService> {
  const copy = await backUp(postgres, folder)
  await writeFile(join(copy, 'standby.signal'), '')
  for (const slot of without) await rm(join(copy, 'pg_replslot', slot), { recursive: true })
  const { port, version } = postgres.service
  const standby = await startPostgres({
    ...(postgres.service.chosen.includes('from npm') && { version: Number.parseInt(version, 10) }),
    dataFrom: copy,
    settings: {
      fsync: 'off',
      primary_conninfo: `host=127.0.0.1 port=${port} user=postgres dbname=${database}`,
      ...settings,
    },
  })
  rig.onCleanup(() => standby.dispose())
  await rm(copy, { recursive: true })
  return standby
}

/** Promotes the stand-by, and lets it take the address of the primary, which is stopped. */
export async function takeOver({ postgres }: Scene, standby: PostgresService, query: Query): Promise<void> {
  await query('SELECT pg_promote(true)')
  await until('the promotion', 30_000, async () => {
    const [row] = await query('SELECT pg_is_in_recovery() AS recovering')
    return row?.recovering === false
  })
  await query(`ALTER SYSTEM SET port = ${postgres.service.port}`)
  await standby.restart('fast')
}

export type Query = (sql: string) => Promise<Record<string, unknown>[]>
