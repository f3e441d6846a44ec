import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { canInstallWithApt, installWithApt } from './apt.ts'
import { cacheFolder } from './folders.ts'
import { folderVariable, watchOver } from './keeper.ts'
import { type RabbitInstallation, versionOf } from './rabbit-installation.ts'
import { say } from './say.ts'

const run = promisify(execFile)
const scripts = '/usr/lib/rabbitmq/bin'

/**
 * RabbitMQ 4 of Debian trixie in a root folder of its own, where the machine has an older one and no Docker. Each program
 * runs in a mount namespace of its own, so that its /proc goes when the process does.
 */
export async function chrootRabbit4(): Promise<RabbitInstallation> {
  const root = await trixie()
  const enter = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"'
  const prefix = ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', enter, root]
  const nodesIn = join(root, 'tmp')
  return {
    prefix,
    folder: scripts,
    version: await versionOf(prefix, scripts),
    origin: 'of a Debian trixie in .cache',
    nodesIn,
    inside: (path) => `/${relative(root, path)}`,
  }
}

async function trixie(): Promise<string> {
  const cache = cacheFolder('rabbitmq-4')
  const root = join(cache, 'root')
  if (existsSync(join(root, scripts, 'rabbitmq-server'))) return root
  if (!canInstallWithApt()) {
    throw new Error('RabbitMQ 4 was asked for: without Docker it needs root on Debian or Ubuntu (debootstrap)')
  }
  if (!existsSync('/usr/sbin/debootstrap')) await installWithApt(['debootstrap'])
  say('making a Debian trixie with RabbitMQ 4 by debootstrap, about a minute')
  const fresh = mkdtempSync(join(cache, 'fresh-'))
  watchOver(fresh)
  try {
    const options = ['--variant=minbase', '--include=rabbitmq-server,ca-certificates']
    const tree = join(fresh, 'root')
    mkdirSync(tree, { mode: 0o755 })
    // What it mounts in there goes with it, and so does the folder should this run be interrupted.
    const apart = ['--mount', '--propagation', 'private', 'debootstrap', ...options, 'trixie', tree, ...machineMirror()]
    await run('unshare', apart, { maxBuffer: 64 << 20, env: { ...process.env, [folderVariable]: fresh } })
    if (!existsSync(root)) renameSync(tree, root)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return root
}

/** The mirror that the machine installs from: behind a firewall it may be the only one that answers. */
function machineMirror(): string[] {
  const folder = '/etc/apt/sources.list.d'
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
  const sources = ['/etc/apt/sources.list', ...files].filter((file) => existsSync(file))
  const text = sources.map((file) => `${readFileSync(file, 'utf8')}\n`).join('')
  const mirror = /https?:\/\/\S+\/debian(?=\/?\s)/.exec(text)?.[0]
  return mirror === undefined ? [] : [mirror]
}
