/** What every PostgreSQL of the tests has: room for many slots and prepared transactions, and nothing outside its folder. */
const base: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_wal_senders: '40',
  max_replication_slots: '40',
  max_connections: '200',
  max_prepared_transactions: '20',
  listen_addresses: '127.0.0.1',
  logging_collector: 'off',
  // Files in the data folder instead of /dev/shm, where a killed server would leave them.
  dynamic_shared_memory_type: 'mmap',
}

export interface ConfigurationOptions {
  readonly port: number
  readonly socketFolder: string
  readonly settings: Readonly<Record<string, string>>
  readonly tls: { readonly cert: string; readonly key: string } | undefined
}

/** Lines to append to postgresql.conf: of a setting given twice the last counts. */
export function postgresConfiguration({ port, socketFolder, settings, tls }: ConfigurationOptions): string {
  const all = { ...base, port: String(port), unix_socket_directories: socketFolder, ...tlsSettings(tls), ...settings }
  return settingLines(all).join('\n')
}

/** The same for a server in a container, which listens on its own addresses. */
export function postgresArguments(settings: Readonly<Record<string, string>>): string[] {
  const { listen_addresses: _own, ...inContainer } = base
  return Object.entries({ ...inContainer, ...settings }).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

function tlsSettings(tls: ConfigurationOptions['tls']): Record<string, string> {
  return tls === undefined ? {} : { ssl: 'on', ssl_cert_file: tls.cert, ssl_key_file: tls.key }
}

function settingLines(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`)
}

/** pg_hba.conf: the given lines first (the first match decides), then trust for everybody who can reach the server. */
export function postgresHba(lines: readonly string[]): string {
  const trust = [
    'local all all trust',
    'host all all all trust',
    'host replication all all trust',
    'local replication all trust',
  ]
  return `${[...lines, ...trust].join('\n')}\n`
}
