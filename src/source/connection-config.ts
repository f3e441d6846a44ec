import { Socket } from 'node:net'
import type { ClientConfig } from 'pg'

/** Text forms that do not depend on settings of the server, the database or the role. */
const sessionSettings = [
  'datestyle=ISO',
  'intervalstyle=postgres',
  'timezone=UTC',
  'bytea_output=hex',
  'extra_float_digits=1',
]

export interface ReplicationConnectionOptions {
  /** Asked of the server for this connection, milliseconds; the server's own when absent. */
  readonly walSenderTimeout?: number
}

/**
 * The driver's configuration for a replication connection, and the socket that it will use: our own, so that it can be
 * destroyed at any time, also while connecting. noDelay is the driver's default.
 */
export function replicationConfig(
  connection: ClientConfig,
  options: ReplicationConnectionOptions,
): { config: ClientConfig; socket: Socket } {
  const settings = [...sessionSettings]
  if (options.walSenderTimeout !== undefined) settings.push(`wal_sender_timeout=${options.walSenderTimeout}`)
  const asked = settings.map((setting) => `-c ${setting}`).join(' ')
  const socket = new Socket()
  const config: ClientConfig = {
    connectionTimeoutMillis: 10_000,
    ...connection,
    application_name: 'wal2rabbit',
    options: connection.options === undefined ? asked : `${connection.options} ${asked}`,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    stream: () => socket,
  }
  return { config, socket }
}
