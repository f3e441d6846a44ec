import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { embeddedPostgres } from './embedded-postgres.ts'

const run = promisify(execFile)

export interface PostgresBinaries {
  /** Folder of `postgres` and `initdb`. */
  readonly folder: string
  /** For example `15.14`. */
  readonly version: string
  /** For the line that says what was chosen. */
  readonly origin: string
}

/** An asked version comes from npm; else the newest installed one from 14 on is used, else version 17 from npm. */
export async function choosePostgresBinaries(version: number | undefined): Promise<PostgresBinaries> {
  if (version !== undefined) return embedded(version)
  return (await newestInstalled()) ?? (await embedded(17))
}

async function embedded(major: number): Promise<PostgresBinaries> {
  const folder = await embeddedPostgres(major)
  return { folder, version: await versionOf(folder), origin: 'from npm' }
}

async function newestInstalled(): Promise<PostgresBinaries | undefined> {
  const found: PostgresBinaries[] = []
  for (const folder of await installedFolders()) {
    const version = await versionOf(folder)
    if (Number.parseInt(version, 10) >= 14) found.push({ folder, version, origin: `of ${folder}` })
  }
  return found.sort((a, b) => Number.parseFloat(b.version) - Number.parseFloat(a.version))[0]
}

async function installedFolders(): Promise<string[]> {
  const debian = '/usr/lib/postgresql'
  const folders = existsSync(debian) ? readdirSync(debian).map((major) => join(debian, major, 'bin')) : []
  try {
    folders.push((await run('pg_config', ['--bindir'])).stdout.trim())
  } catch {
    // No pg_config on the path: nothing more to look at.
  }
  return folders.filter((folder) => existsSync(join(folder, 'initdb')) && existsSync(join(folder, 'postgres')))
}

async function versionOf(folder: string): Promise<string> {
  const { stdout } = await run(join(folder, 'postgres'), ['--version'])
  const version = /\d+(\.\d+)?/.exec(stdout)?.[0]
  if (version === undefined)
    throw new Error(`${folder}/postgres --version said "${stdout.trim()}": a version was expected`)
  return version
}
