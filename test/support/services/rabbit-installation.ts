import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { canInstallWithApt, installWithApt } from './apt.ts'

const run = promisify(execFile)

/** How the programs of a RabbitMQ are run: `prefix` comes before the path, to enter another root folder. */
export interface RabbitInstallation {
  readonly prefix: readonly string[]
  /** The folder of the scripts: the wrappers in /usr/sbin change the user, these do not. */
  readonly folder: string
  /** For example `3.10.8`. */
  readonly version: string
  readonly origin: string
  /** Where nodes keep their folders; undefined for the temporary folder. */
  readonly nodesIn: string | undefined
  /** A path of this machine as the node sees it. */
  inside(path: string): string
}

const folders = [
  '/usr/lib/rabbitmq/bin',
  '/opt/rabbitmq/sbin',
  '/opt/homebrew/opt/rabbitmq/sbin',
  '/usr/local/opt/rabbitmq/sbin',
]

/** The machine's RabbitMQ, installed with apt when it is missing and that is possible. */
export async function installedRabbit(): Promise<RabbitInstallation> {
  return (await findInstalledRabbit()) ?? (await install())
}

/** The machine's RabbitMQ, if it has one. */
export async function findInstalledRabbit(): Promise<RabbitInstallation | undefined> {
  const folder = folders.find((candidate) => existsSync(join(candidate, 'rabbitmq-server')))
  if (folder === undefined) return undefined
  const version = await versionOf([], folder)
  return { prefix: [], folder, version, origin: `of ${folder}`, nodesIn: undefined, inside: (path) => path }
}

async function install(): Promise<RabbitInstallation> {
  const remedy = 'install RabbitMQ (Debian and Ubuntu: apt-get install rabbitmq-server), or start Docker'
  if (!canInstallWithApt()) throw new Error(`no Docker engine, no rabbitmq-server in ${folders.join(', ')}: ${remedy}`)
  await installWithApt(['rabbitmq-server'])
  // The package starts a broker on the default port, which nobody asked for.
  if (existsSync('/run/systemd/system')) await run('systemctl', ['stop', 'rabbitmq-server'])
  const found = await findInstalledRabbit()
  if (found === undefined) throw new Error(`rabbitmq-server was installed, but not in ${folders.join(', ')}: ${remedy}`)
  return found
}

/** From the names in its library folders: asking rabbitmqctl costs seconds. */
export async function versionOf(prefix: readonly string[], folder: string): Promise<string> {
  const list = 'ls "$0/../lib" "$0/../plugins" 2>/dev/null || true'
  const [file = '/bin/sh', ...args] = [...prefix, '/bin/sh', '-c', list, folder]
  const { stdout } = await run(file, args)
  return /^rabbit(?:mq_server)?-(\d+\.\d+\.\d+)/m.exec(stdout)?.[1] ?? 'of unknown version'
}
