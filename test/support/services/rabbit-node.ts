import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RabbitOptions } from './contract.ts'
import { folderVariable } from './keeper.ts'
import { freePort } from './ports.ts'

/** Everything a private node needs to share nothing with another node of the machine. */
export interface RabbitNode {
  /** Where it keeps data, log, configuration and cookie. */
  readonly folder: string
  readonly port: number
  readonly tlsPort: number | undefined
  readonly env: Readonly<Record<string, string>>
}

/**
 * Lays out the node's folder. `inside` translates a path of this machine to what the node sees (another root folder).
 * Variables: https://www.rabbitmq.com/docs/configure#supported-environment-variables
 */
export async function layOutNode(
  folder: string,
  options: RabbitOptions,
  inside: (path: string) => string = (path) => path,
): Promise<RabbitNode> {
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()]
  const tlsPort = options.tls === undefined ? undefined : await freePort()
  for (const name of ['home', 'data', 'log', 'conf.d', 'tls']) mkdirSync(join(folder, name))
  // Environment files of an installed RabbitMQ and its conf.d would otherwise be read too.
  writeFileSync(join(folder, 'rabbitmq-env.conf'), '')
  writeFileSync(join(folder, 'advanced.config'), '[].\n')
  writeFileSync(join(folder, 'enabled_plugins'), `[${(options.plugins ?? []).join(',')}].\n`)
  const tls = copyTls(folder, options, inside)
  writeFileSync(join(folder, 'rabbitmq.conf'), `${configuration({ port, tlsPort, tls, options }).join('\n')}\n`)
  const at = (name: string): string => inside(join(folder, name))
  const loopback = '-kernel inet_dist_use_interface {127,0,0,1}'
  return {
    folder,
    port,
    tlsPort,
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      HOME: at('home'),
      [folderVariable]: folder,
      ERL_EPMD_PORT: String(epmdPort),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      RABBITMQ_NODENAME: 'rabbit@localhost',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distPort),
      RABBITMQ_MNESIA_BASE: at('data'),
      RABBITMQ_LOG_BASE: at('log'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_CONF_ENV_FILE: at('rabbitmq-env.conf'),
      RABBITMQ_CONFIG_FILE: at('rabbitmq.conf'),
      RABBITMQ_CONFIG_FILES: at('conf.d'),
      RABBITMQ_ADVANCED_CONFIG_FILE: at('advanced.config'),
      RABBITMQ_ENABLED_PLUGINS_FILE: at('enabled_plugins'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: loopback,
      RABBITMQ_CTL_ERL_ARGS: loopback,
    },
  }
}

interface Configuration {
  readonly port: number
  readonly tlsPort: number | undefined
  readonly tls: readonly string[]
  readonly options: RabbitOptions
}

function configuration({ port, tlsPort, tls, options }: Configuration): string[] {
  const lines = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    'disk_free_limit.absolute = 50MB',
    'log.console.level = warning',
  ]
  if (tlsPort !== undefined) lines.push(`listeners.ssl.1 = 127.0.0.1:${tlsPort}`, ...tls)
  return [...lines, ...(options.config ?? [])]
}

function copyTls(folder: string, { tls }: RabbitOptions, inside: (path: string) => string): string[] {
  if (tls === undefined) return []
  const copy = (from: string, name: string): string => {
    const to = join(folder, 'tls', name)
    copyFileSync(from, to)
    return inside(to)
  }
  return [
    `ssl_options.cacertfile = ${copy(tls.ca, 'ca.pem')}`,
    `ssl_options.certfile = ${copy(tls.cert, 'cert.pem')}`,
    `ssl_options.keyfile = ${copy(tls.key, 'key.pem')}`,
    'ssl_options.verify = verify_none',
    'ssl_options.fail_if_no_peer_cert = false',
  ]
}
