import {
  type PostgresOptions,
  type PostgresService,
  type RabbitOptions,
  type RabbitService,
  startPostgres,
  startRabbit,
} from '../../support/services.ts'
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

/** Not the usual password, so that I11 has something to look for. */
export const brokerUser = { name: 'rig', password: 'br0ker-c4nary' } as const
/** PostgreSQL trusts everybody, with whatever password. */
export const databasePassword = 'd4tabase-c4nary'

/** A private server behind a proxy. */
export interface RigServer<Service> {
  readonly service: Service
  readonly proxy: TcpProxy
  /** Through the proxy, as the bridges connect; PostgreSQL: database `postgres`. */
  readonly url: string
  readonly directUrl: string
  dispose(): Promise<void>
}

export type PostgresServer = RigServer<PostgresService>
export type RabbitServer = RigServer<RabbitService>

/** A crash of the process loses nothing that PostgreSQL has written, so it need not wait for its disk. */
export async function startPostgresServer(options: PostgresOptions = {}): Promise<PostgresServer> {
  const service = await startPostgres({ ...options, settings: { fsync: 'off', ...options.settings } })
  return behindProxy(service, withUser(service.url, 'postgres', databasePassword))
}

export async function startRabbitServer(options: RabbitOptions = {}): Promise<RabbitServer> {
  const service = await startRabbit(options)
  try {
    await addBrokerUser(service)
    return await behindProxy(service, withUser(service.url, brokerUser.name, brokerUser.password))
  } catch (error) {
    await service.dispose()
    throw error
  }
}

/** Made by one call: rabbitmqctl takes two seconds to start. */
async function addBrokerUser(service: RabbitService): Promise<void> {
  const { name, password } = brokerUser
  await service.ctl(
    'eval',
    `rabbit_auth_backend_internal:add_user(<<"${name}">>, <<"${password}">>, <<"rig">>),
     rabbit_auth_backend_internal:set_tags(<<"${name}">>, [administrator], <<"rig">>),
     rabbit_auth_backend_internal:set_permissions(<<"${name}">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"rig">>).`,
  )
}

async function behindProxy<Service extends { dispose(): Promise<void> }>(
  service: Service,
  directUrl: string,
): Promise<RigServer<Service>> {
  const proxy = await startTcpProxy(directUrl)
  return {
    service,
    proxy,
    url: proxy.urlFor(directUrl),
    directUrl,
    async dispose() {
      await proxy.close()
      await service.dispose()
    },
  }
}

function withUser(url: string, name: string, password: string): string {
  const changed = new URL(url)
  changed.username = name
  changed.password = password
  return changed.href
}

/** The same server, another database. */
export function urlOfDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(database)}`
  return changed.href
}
