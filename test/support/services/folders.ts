import { chownSync, mkdirSync, mkdtempSync, realpathSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { watchOver } from './keeper.ts'
import type { UnixUser } from './unix-user.ts'

const repository = fileURLToPath(new URL('../../..', import.meta.url))

/** A folder of its own for one service, below `parent`, which disappears with this process. */
export function serviceFolder(prefix: string, owner?: UnixUser, parent = tmpdir()): string {
  const folder = mkdtempSync(join(realpathSync(parent), `wal2rabbit-${prefix}-`))
  watchOver(folder)
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid)
  return folder
}

/** What is fetched once and kept: `.cache/<name>` of the checkout, or below /var/cache when others may not look in there. */
export function cacheFolder(name: string): string {
  const root =
    process.getuid?.() === 0 && !isOpenToOthers(repository) ? '/var/cache/wal2rabbit' : join(repository, '.cache')
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true })
  return folder
}

/** A server that root runs as another user must be able to reach its binaries: a checkout below /root is closed to it. */
function isOpenToOthers(folder: string): boolean {
  if ((statSync(folder).mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || isOpenToOthers(parent)
}
