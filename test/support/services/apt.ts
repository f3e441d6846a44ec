import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { say } from './say.ts'

const run = promisify(execFile)

/** Whether packages can be installed without asking anybody: root on Debian, Ubuntu and the like. */
export function canInstallWithApt(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')
}

/** Installs packages from the machine's own sources. */
export async function installWithApt(packages: readonly string[]): Promise<void> {
  say(`installing ${packages.join(', ')} with apt-get`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '--no-install-recommends', ...packages]
  try {
    await run('apt-get', install, { env, maxBuffer: 64 << 20 })
  } catch {
    // The lists may be missing or older than the mirror: a machine where nothing was installed yet has none.
    await run('apt-get', ['update'], { env, maxBuffer: 64 << 20 })
    await run('apt-get', install, { env, maxBuffer: 64 << 20 })
  }
}
