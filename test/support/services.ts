import {
  type PostgresOptions,
  type PostgresService,
  postgresVersions,
  type RabbitOptions,
  type RabbitService,
} from './services/contract.ts'
import { dockerUnavailable } from './services/docker.ts'
import { choosePostgresBinaries } from './services/postgres-binaries.ts'
import { createDockerPostgres } from './services/postgres-docker.ts'
import { createLocalPostgres } from './services/postgres-local.ts'
import { chrootRabbit4 } from './services/rabbit-chroot.ts'
import { createDockerRabbit } from './services/rabbit-docker.ts'
import { findInstalledRabbit, installedRabbit, type RabbitInstallation } from './services/rabbit-installation.ts'
import { createLocalRabbit } from './services/rabbit-local.ts'
import { say } from './services/say.ts'

export type {
  PostgresOptions,
  PostgresService,
  RabbitControl,
  RabbitOptions,
  RabbitService,
  StopMode,
  TlsFiles,
} from './services/contract.ts'
export { freePort } from './services/ports.ts'
export {
  type FreshDatabase,
  freshDatabase,
  type PostgresHandle,
  type RabbitHandle,
  sharedPostgres,
  sharedRabbit,
  uniqueName,
} from './services/shared.ts'
export { ensureWal2json, hasWal2json } from './services/wal2json.ts'

/**
 * A started PostgreSQL of its own: Docker through testcontainers where an engine answers, else local processes. Nothing
 * of it outlives this process, however that ends; `dispose` is the orderly way. What was chosen goes to standard error.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresService> {
  const version = options.version ?? askedVersion('WAL2RABBIT_TEST_POSTGRES_VERSION', postgresVersions)
  const why = await dockerUnavailable()
  const service =
    why === undefined
      ? await createDockerPostgres(version ?? 17, options)
      : await createLocalPostgres(await choosePostgresBinaries(version), options, why)
  await startOrDispose(service)
  say(`${service.chosen} (port ${service.port})`)
  return service
}

/** The same for RabbitMQ: without Docker a private node of the machine's rabbitmq-server, installed when it can be. */
export async function startRabbit(options: RabbitOptions = {}): Promise<RabbitService> {
  const version = options.version ?? askedVersion('WAL2RABBIT_TEST_RABBIT', [3, 4])
  const why = await dockerUnavailable()
  const service =
    why === undefined
      ? await createDockerRabbit(version ?? 4, options)
      : await createLocalRabbit(await localRabbit(version), options, why)
  await startOrDispose(service)
  say(`${service.chosen} (port ${service.port})`)
  return service
}

/** The machine's own when nothing or its major version is asked for. */
async function localRabbit(version: number | undefined): Promise<RabbitInstallation> {
  if (version === undefined) return installedRabbit()
  const found = await findInstalledRabbit()
  if (found?.version.startsWith(`${version}.`)) return found
  if (version === 4) return chrootRabbit4()
  const installed = found ?? (await installedRabbit())
  if (installed.version.startsWith(`${version}.`)) return installed
  throw new Error(`RabbitMQ ${version} was asked for, the machine has ${installed.version}: start Docker for others`)
}

async function startOrDispose(service: PostgresService | RabbitService): Promise<void> {
  try {
    await service.start()
  } catch (error) {
    await service.dispose()
    throw error
  }
}

function askedVersion(variable: string, known: readonly number[]): number | undefined {
  const text = process.env[variable]
  if (text === undefined || text === '') return undefined
  const version = Number(text)
  if (!known.includes(version)) throw new Error(`${variable}=${text}: one of ${known.join(', ')} was expected`)
  return version
}
