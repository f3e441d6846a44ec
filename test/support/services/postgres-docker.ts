import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { PostgresOptions, PostgresService, StopMode } from './contract.ts'
import { runContainer, type ServiceContainer } from './docker.ts'
import { freePort } from './ports.ts'
import { postgresArguments, postgresHba } from './postgres-configuration.ts'

const stopSignals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

/** The official image of this major version, already started: its first start makes the cluster. */
export async function createDockerPostgres(major: number, options: PostgresOptions): Promise<PostgresService> {
  if (options.dataFrom !== undefined) {
    throw new Error('dataFrom needs local processes, Docker is in use: set WAL2RABBIT_TEST_SERVICES=local')
  }
  const image = `postgres:${major}`
  const port = options.port ?? (await freePort())
  const tls = options.tls
  const container = await runContainer({
    image,
    ports: new Map([[5432, port]]),
    ready: /database system is ready to accept connections/,
    readyCount: 2,
    prepare: (it) => {
      it.withEnvironment({ POSTGRES_HOST_AUTH_METHOD: 'trust', POSTGRES_INITDB_ARGS: '-E UTF8 --locale=C' })
      it.withCommand(['postgres', ...postgresArguments(options.settings ?? {})])
      it.withCopyContentToContainer([
        { content: postgresHba(options.hba ?? []), target: '/wal2rabbit/pg_hba.conf', mode: 0o644 },
        { content: initScript(tls !== undefined), target: '/docker-entrypoint-initdb.d/wal2rabbit.sh', mode: 0o755 },
      ])
      if (tls !== undefined) {
        it.withCopyFilesToContainer([
          { source: tls.cert, target: '/wal2rabbit/server.crt', mode: 0o644 },
          { source: tls.key, target: '/wal2rabbit/server.key', mode: 0o644 },
        ])
      }
    },
  })
  const service = new DockerPostgres(container, port, image)
  await service.readVersion()
  return service
}

/** Runs as the server's own user, who must own the key. */
function initScript(tls: boolean): string {
  const lines = ['cp /wal2rabbit/pg_hba.conf "$PGDATA/pg_hba.conf"']
  if (tls) {
    lines.push('cp /wal2rabbit/server.crt /wal2rabbit/server.key "$PGDATA/"', 'chmod 600 "$PGDATA/server.key"')
    lines.push(`printf "ssl = on\\n" >> "$PGDATA/postgresql.conf"`)
  }
  return `${lines.join('\n')}\n`
}

class DockerPostgres implements PostgresService {
  readonly url: string
  readonly port: number
  readonly chosen: string
  readonly dataFolder = undefined
  version = ''
  readonly #container: ServiceContainer

  constructor(container: ServiceContainer, port: number, image: string) {
    this.#container = container
    this.port = port
    this.url = this.urlFor('postgres')
    this.chosen = `PostgreSQL in Docker (${image}), an engine answers`
  }

  urlFor(database: string): string {
    return `postgres://postgres@${this.#container.host}:${this.port}/${encodeURIComponent(database)}`
  }

  async readVersion(): Promise<void> {
    const deadline = Date.now() + 60_000
    for (;;) {
      const answer = await serverVersion(this.url)
      if (answer !== undefined) {
        this.version = answer
        return
      }
      if (Date.now() > deadline) throw new Error('PostgreSQL in Docker took no connection within 60 s')
      await delay(100)
    }
  }

  async start(): Promise<void> {
    if (this.#container.running()) return
    await this.#container.start()
    await this.readVersion()
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    await this.#container.end(stopSignals[mode])
  }

  async kill(): Promise<void> {
    await this.#container.end('SIGKILL')
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  pause(): Promise<void> {
    return this.#container.pause()
  }

  resume(): Promise<void> {
    return this.#container.resume()
  }

  dispose(): Promise<void> {
    return this.#container.remove()
  }
}

/** Undefined while the server does not take connections yet. */
async function serverVersion(url: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  try {
    await client.connect()
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version')
    return /^[\d.]+/.exec(rows[0]?.server_version ?? '')?.[0] ?? ''
  } catch {
    // Refused or starting: asked again by the caller, which has the bound.
    return undefined
  } finally {
    await client.end()
  }
}
