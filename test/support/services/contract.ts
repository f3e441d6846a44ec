/** Paths of PEM files: the server's certificate and key, and the authority that signed it. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

export interface PostgresOptions {
  /** Major version, 14 to 18. Default: WAL2RABBIT_TEST_POSTGRES_VERSION, else what the machine has. */
  readonly version?: number
  /** Lines of postgresql.conf beside the helper's own (`wal_level=logical` and room for slots); they win. */
  readonly settings?: Readonly<Record<string, string>>
  /** Lines put in front of pg_hba.conf, whose last lines trust everybody on loopback (the first match decides). */
  readonly hba?: readonly string[]
  /** Turns `ssl` on; plain connections are still taken unless `hba` refuses them. */
  readonly tls?: TlsFiles
  /** A fixed port, to put another cluster behind the same address. Default: a free one. */
  readonly port?: number
  /** Local processes only: a data folder of the same major version to copy instead of running initdb. */
  readonly dataFrom?: string
}

/** A PostgreSQL of its own on loopback, superuser `postgres`, trusted without a password. Data outlives stop and kill. */
export interface PostgresService {
  /** Database `postgres`. The port stays the same for the life of the service. */
  readonly url: string
  readonly port: number
  /** For example `15.14`. */
  readonly version: string
  /** What was chosen and why, in one line. */
  readonly chosen: string
  /** Local processes only: where the data lies; stop the server before copying it. */
  readonly dataFolder: string | undefined
  urlFor(database: string): string
  /** Resolves when connections are taken; does nothing when it runs. */
  start(): Promise<void>
  /** Resolves when the server is gone. Without a bound: `fast` waits for the walsenders, as PostgreSQL does. */
  stop(mode?: StopMode): Promise<void>
  /** SIGKILL for the postmaster and its children: a crash. */
  kill(): Promise<void>
  restart(mode?: StopMode): Promise<void>
  /** SIGSTOP for every process: sockets stay open and silent. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** Ends the server and removes its data; safe to repeat. */
  dispose(): Promise<void>
}

export type StopMode = 'fast' | 'immediate' | 'smart'

export interface RabbitOptions {
  /** 3 (what the machine has) or 4. Default: WAL2RABBIT_TEST_RABBIT, else what the machine has. */
  readonly version?: number
  /** Lines of rabbitmq.conf beside the helper's own. */
  readonly config?: readonly string[]
  /** Plugins to enable; their listeners need ports of their own in `config` (see `freePort`). */
  readonly plugins?: readonly string[]
  /** Adds a TLS listener, see `tlsUrl`. */
  readonly tls?: TlsFiles
}

/** A RabbitMQ node of its own on loopback, user `guest`. Data outlives stop and kill. */
export interface RabbitService {
  /** Virtual host `/`. The port stays the same for the life of the service. */
  readonly url: string
  readonly port: number
  /** `amqps://localhost:…` when started with `tls`. */
  readonly tlsUrl: string | undefined
  /** For example `3.10.8`. */
  readonly version: string
  readonly chosen: string
  /** Resolves when an AMQP connection was opened and quorum queues have their leaders; does nothing when it runs. */
  start(): Promise<void>
  stop(): Promise<void>
  /** SIGKILL for the node: a crash. Lets it save which quorum queues exist before (half a second), see rabbit-answers.ts. */
  kill(): Promise<void>
  restart(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  /** Runs rabbitmqctl against this node and gives its standard output. */
  ctl(...args: string[]): Promise<string>
  /** How another process runs rabbitmqctl against this node, as plain data. */
  readonly control: RabbitControl
  dispose(): Promise<void>
}

export type RabbitControl =
  | { readonly kind: 'command'; readonly command: readonly string[]; readonly env: Readonly<Record<string, string>> }
  | { readonly kind: 'container'; readonly id: string }

/** Versions that startPostgres knows by number. */
export const postgresVersions: readonly number[] = [14, 15, 16, 17, 18]
