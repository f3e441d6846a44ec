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
  const { walSenderTimeout } = options
  const more = walSenderTimeout === undefined ? [] : [`wal_sender_timeout=${walSenderTimeout}`]
  return streamConfig(connection, 'wal2rabbit', more)
}

/**
 * The same for a connection that reads the table, however long that takes. Where row security would hide rows it is an
 * error, for the stream hides none. One process at a time: a replay must not take the server from the live stream.
 * `lockTimeout_ms`: for a lock on the table; 0 waits.
 */
export function tableConfig(
  connection: ClientConfig,
  lockTimeout_ms: number,
): { config: ClientConfig; socket: Socket } {
  // As parameters of their own they would win over `options`, and the driver would give up a query by itself.
  const { statement_timeout, query_timeout, lock_timeout, idle_in_transaction_session_timeout, ...rest } = connection
  return streamConfig(rest, 'wal2rabbit table', [
    'statement_timeout=0',
    `lock_timeout=${lockTimeout_ms}`,
    'idle_in_transaction_session_timeout=0',
    'idle_session_timeout=0',
    'row_security=off',
    'max_parallel_workers_per_gather=0',
  ])
}

function streamConfig(
  connection: ClientConfig,
  applicationName: string,
  more: readonly string[],
): { config: ClientConfig; socket: Socket } {
  const asked = [...sessionSettings, ...more].map((setting) => `-c ${setting}`).join(' ')
  const socket = new Socket()
  const config: ClientConfig = {
    connectionTimeoutMillis: 10_000,
    ...connection,
    application_name: applicationName,
    options: connection.options === undefined ? asked : `${connection.options} ${asked}`,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    stream: () => socket,
  }
  return { config, socket }
}
