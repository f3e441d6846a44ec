import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { RabbitControl } from './contract.ts'
import { machineControl, runControl } from './rabbit-control.ts'

/** The PostgreSQL that all test files of a worker share, one after the other: never stop it, use databases of your own. */
export interface PostgresHandle {
  /** Superuser, database `postgres`. */
  readonly url: string
  /** For example `15.14`. */
  readonly version: string
  urlFor(database: string): string
}

/** The RabbitMQ that all test files of a worker share, one after the other: never stop it, use names of your own. */
export interface RabbitHandle {
  readonly url: string
  readonly version: string
  ctl(...args: string[]): Promise<string>
}

export interface FreshDatabase {
  readonly url: string
  readonly name: string
  /** Ends its connections, drops its slots, drops it. */
  drop(): Promise<void>
}

/** What the global setup hands to the test processes: the servers of each worker, as JSON in this variable. */
export const sharedVariable = 'WAL2RABBIT_SHARED_SERVICES'

export interface SharedPostgres {
  readonly url: string
  readonly version: string
}

export interface SharedRabbit {
  readonly url: string
  readonly version: string
  /** Missing for a broker that the environment named: then the machine's own rabbitmqctl is asked. */
  readonly control?: RabbitControl
}

export interface SharedServices {
  readonly postgres?: SharedPostgres
  readonly rabbit?: SharedRabbit
}

export function sharedPostgres(): PostgresHandle {
  const { postgres } = readShared()
  if (postgres === undefined) throw new Error(missing('PostgreSQL', '*.pg.test.ts or *.e2e.test.ts'))
  return { ...postgres, urlFor: (database) => withDatabase(postgres.url, database) }
}

export function sharedRabbit(): RabbitHandle {
  const { rabbit } = readShared()
  if (rabbit === undefined) throw new Error(missing('RabbitMQ', '*.amqp.test.ts or *.e2e.test.ts'))
  return { ...rabbit, ctl: (...args) => runControl(rabbit.control ?? machineControl, args) }
}

/** VITEST_POOL_ID counts the workers of a run from 1. */
function readShared(): SharedServices {
  const text = process.env[sharedVariable]
  const perWorker: readonly SharedServices[] = text === undefined ? [] : JSON.parse(text)
  return perWorker[(Number(process.env.VITEST_POOL_ID) - 1) % perWorker.length] ?? {}
}

function missing(what: string, suffix: string): string {
  return `no shared ${what} in this run: name the test file ${suffix}, for the global setup looks at the suffix`
}

/** A name of its own for a queue, an exchange, a slot, a role: lower case, digits and underscores, at most 63 long. */
export function uniqueName(prefix: string): string {
  return `${prefix.slice(0, 46)}_${randomBytes(8).toString('hex')}`
}

/** A new empty database on the shared PostgreSQL. */
export async function freshDatabase(prefix = 'test'): Promise<FreshDatabase> {
  const server = sharedPostgres()
  const name = uniqueName(prefix)
  await asSuperuser(server.url, (client) => client.query(`CREATE DATABASE ${name}`).then(() => undefined))
  return {
    url: server.urlFor(name),
    name,
    drop: () => asSuperuser(server.url, (client) => dropDatabase(client, name)),
  }
}

/** `WITH (FORCE)` ends sessions, but a logical slot of the database still refuses the drop. */
async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await client.query(
    'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL',
    [name],
  )
  const { rows } = await client.query<{ slot_name: string }>(
    'SELECT slot_name FROM pg_replication_slots WHERE database = $1 AND NOT temporary',
    [name],
  )
  for (const { slot_name: slot } of rows) await dropSlot(client, slot)
  await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
}

/** A walsender just terminated holds its slot for another moment. */
async function dropSlot(client: pg.Client, slot: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await client.query('SELECT pg_drop_replication_slot($1)', [slot])
      return
    } catch (error) {
      const code = error instanceof pg.DatabaseError ? error.code : undefined
      if (code === '42704') return
      if (code !== '55006' || attempt === 100) throw error
      await client.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [
        slot,
      ])
      await client.query('SELECT pg_sleep(0.05)')
    }
  }
}

/** Runs `work` on a connection of its own. */
export async function asSuperuser<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function withDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(database)}`
  return changed.href
}
