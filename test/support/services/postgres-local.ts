import { execFile } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { PostgresOptions, PostgresService, StopMode } from './contract.ts'
import { type Daemon, startDaemon, untilReady } from './daemon.ts'
import { serviceFolder } from './folders.ts'
import { folderVariable, killProcessesOf, removeService, signalProcessesOf } from './keeper.ts'
import { freePort } from './ports.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { postgresConfiguration, postgresHba } from './postgres-configuration.ts'
import { postgresUser, type UnixUser } from './unix-user.ts'

const run = promisify(execFile)
const startBound = 120_000
const stopSignals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** A cluster of its own in a temporary folder, made but not yet started. */
export async function createLocalPostgres(
  binaries: PostgresBinaries,
  options: PostgresOptions,
  why: string,
): Promise<PostgresService> {
  const user = postgresUser()
  const port = options.port ?? (await freePort())
  const folder = serviceFolder('postgres', user)
  const place = { binaries, folder, data: join(folder, 'data'), port, user }
  await makeCluster(place, options)
  const as = user === undefined ? '' : ` as user ${user.name}`
  return new LocalPostgres(place, `PostgreSQL ${binaries.version} ${binaries.origin}${as}, ${why}`)
}

interface Place {
  readonly binaries: PostgresBinaries
  readonly folder: string
  readonly data: string
  readonly port: number
  readonly user: UnixUser | undefined
}

async function makeCluster({ binaries, folder, data, port, user }: Place, options: PostgresOptions): Promise<void> {
  if (options.dataFrom === undefined) {
    const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
    await run(join(binaries.folder, 'initdb'), initdb, { cwd: folder, env: environment(folder), ...(user ?? {}) })
  } else {
    cpSync(options.dataFrom, data, { recursive: true, preserveTimestamps: true })
    if (user !== undefined) await run('chown', ['-R', `${user.uid}:${user.gid}`, data])
    chmodSync(data, 0o700)
  }
  const configuration = join(data, 'postgresql.conf')
  const tls = options.tls === undefined ? undefined : copyCertificate(options.tls, folder, user)
  const lines = postgresConfiguration({ port, socketFolder: folder, settings: options.settings ?? {}, tls })
  writeFileSync(configuration, `${readFileSync(configuration, 'utf8')}\n${lines}\n`)
  writeFileSync(join(data, 'pg_hba.conf'), postgresHba(options.hba ?? []))
}

/** PostgreSQL refuses a key that others may read or that somebody else owns. */
function copyCertificate(files: { cert: string; key: string }, folder: string, user: UnixUser | undefined) {
  const copy = (from: string, name: string): string => {
    const to = join(folder, name)
    copyFileSync(from, to)
    chmodSync(to, 0o600)
    if (user !== undefined) chownSync(to, user.uid, user.gid)
    return to
  }
  return { cert: copy(files.cert, 'server.crt'), key: copy(files.key, 'server.key') }
}

function environment(folder: string): Record<string, string> {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', [folderVariable]: folder }
}

class LocalPostgres implements PostgresService {
  readonly url: string
  readonly port: number
  readonly version: string
  readonly chosen: string
  readonly dataFolder: string
  readonly #place: Place
  #daemon: Daemon | undefined

  constructor(place: Place, chosen: string) {
    this.#place = place
    this.port = place.port
    this.url = this.urlFor('postgres')
    this.version = place.binaries.version
    this.chosen = chosen
    this.dataFolder = place.data
  }

  urlFor(database: string): string {
    return `postgres://postgres@127.0.0.1:${this.#place.port}/${encodeURIComponent(database)}`
  }

  async start(): Promise<void> {
    if (this.#daemon?.running()) return
    const { binaries, folder, data, user } = this.#place
    const logFile = join(folder, 'postgres.log')
    const daemon = await startDaemon({
      command: [join(binaries.folder, 'postgres'), '-D', data],
      env: environment(folder),
      cwd: folder,
      logFile,
      user,
    })
    this.#daemon = daemon
    await untilReady('PostgreSQL', daemon, logFile, startBound, () => isReady(data, daemon.pid))
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    if (!this.#daemon?.running()) return
    this.#daemon.signal(stopSignals[mode])
    await this.#daemon.ended()
  }

  async kill(): Promise<void> {
    this.#daemon?.signal('SIGKILL')
    await killProcessesOf(this.#place.folder)
    await this.#daemon?.ended()
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  async pause(): Promise<void> {
    await signalProcessesOf(this.#place.folder, 'STOP')
  }

  async resume(): Promise<void> {
    await signalProcessesOf(this.#place.folder, 'CONT')
  }

  async dispose(): Promise<void> {
    if (!existsSync(this.#place.folder)) return
    if (this.#daemon?.running()) {
      this.#daemon.signal('SIGQUIT')
      await Promise.race([this.#daemon.ended(), delay(3_000, undefined, { ref: false })])
    }
    await removeService(this.#place.folder)
  }
}

/** The postmaster keeps its state in line 8 of its pid file, as pg_ctl reads it: no connection, no pg_hba line needed. */
async function isReady(data: string, pid: number): Promise<boolean> {
  try {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')
    return lines[0] === String(pid) && /^(ready|standby)/.test(lines[7] ?? '')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    throw error
  }
}
