import type { Channel } from 'amqplib'
import { runCommand } from '../../support/bridge-process.ts'
import { uniqueName } from '../../support/services.ts'
import { startTcpProxy } from '../../support/tcp-proxy.ts'
import { Load } from '../workload/load.ts'
import { payloadCanary } from '../workload/transaction.ts'
import { Arrivals } from './arrivals.ts'
import { type Links, RigBridge } from './bridge.ts'
import { withChannel } from './channel.ts'
import { Database } from './database.ts'
import { Monitor } from './monitor.ts'
import { declareQueues, type SceneQueue } from './queues.ts'
import type { SceneOptions } from './scene-options.ts'
import { brokerUser, databasePassword, type PostgresServer, type RabbitServer, urlOfDatabase } from './server.ts'
import { installTrace } from './trace.ts'
import { Witness, witnessSlot } from './witness.ts'

/** Words that no output may show. */
export const secrets: readonly string[] = [databasePassword, brokerUser.password, payloadCanary]

/** All that a scene is made of. */
export interface SceneParts {
  readonly options: SceneOptions
  /** Of slot, exchange, queue and database alike. */
  readonly name: string
  readonly postgres: PostgresServer
  readonly rabbit: RabbitServer
  readonly database: Database
  readonly bridges: readonly RigBridge[]
  readonly load: Load
  /** The first one has the name of the scene. */
  readonly queues: readonly SceneQueue[]
  readonly arrivals: Arrivals
  readonly witness: Witness | undefined
  readonly monitor: Monitor
  readonly window: number
  readonly storeInterval: number
}

export type OnCleanup = (cleanup: () => unknown) => void

/** A fresh database, exchange and queue; `init` was run, nothing is started but the consumer and the monitor. */
export async function makeSceneParts(
  options: SceneOptions,
  postgres: PostgresServer,
  rabbit: RabbitServer,
  onCleanup: OnCleanup,
): Promise<SceneParts> {
  const { seed, witness: withWitness = true, trace = true, window = 300, storeInterval = 100 } = options
  const name = uniqueName('scene')
  const admin = new Database(postgres.directUrl, 'rig_admin')
  onCleanup(() => admin.close())
  await admin.query(`CREATE DATABASE ${name}`)
  // A server of this scene alone goes as a whole.
  if (options.postgres === undefined) onCleanup(() => dropDatabase(admin, name))
  const directUrl = urlOfDatabase(postgres.directUrl, name)
  const database = new Database(directUrl, 'rig')
  onCleanup(() => database.close())

  const env: Record<string, string> = {
    WAL2RABBIT_SOURCE_URL: urlOfDatabase(postgres.url, name),
    WAL2RABBIT_SINK_URL: rabbit.url,
    WAL2RABBIT_SOURCE_SLOT: name,
    WAL2RABBIT_SINK_EXCHANGE: name,
    // As routingKeyOf() has it.
    WAL2RABBIT_SINK_ROUTING_KEY: '{aggregate_id}.{type}',
    WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES: String(window),
    WAL2RABBIT_CHECKPOINT_INTERVAL: `${storeInterval}ms`,
    ...(options.order === 'aggregate' && { WAL2RABBIT_DELIVERY_ORDER: 'aggregate' }),
    ...options.env,
  }
  await options.beforeInit?.(env)
  const init = await runCommand(['init'], env)
  if (init.code !== 0) throw new Error(`init failed: ${init.stderr}`)
  const queues = await declareQueues(rabbit, name, options.queues ?? [{}])
  if (options.rabbit === undefined)
    onCleanup(() => withChannel(rabbit, (channel) => removeNames(channel, name, queues)))
  if (trace) await installTrace(database.query)
  const table = options.load?.table ?? 'public.outbox'
  const witness = withWitness ? await Witness.create(database.query, witnessSlot(name), table) : undefined

  const sharedLinks = { postgres: postgres.proxy, rabbit: rabbit.proxy }
  const bridges: RigBridge[] = []
  for (let n = 1; n <= (options.bridges ?? 1); n++) {
    const links = options.ownLinks ? await ownLinks(postgres, rabbit, onCleanup) : sharedLinks
    const own = options.ownLinks ? through(links, env) : env
    const bridge = await RigBridge.create(`bridge ${n}`, own, links)
    onCleanup(() => bridge.kill())
    bridges.push(bridge)
  }
  for (const { consumer } of queues) {
    onCleanup(() => consumer.stop())
    await consumer.start()
  }
  const { rate = 400, writers = 4, kinds = {} } = options.load ?? {}
  const load = new Load({ url: directUrl, seed, rate, writers, table, kinds })
  onCleanup(() => load.abandon())
  const arrivals = new Arrivals(load.ledger, queues)
  const watcher = new Database(directUrl, 'rig_monitor')
  onCleanup(() => watcher.close())
  const monitor = new Monitor({ query: watcher.query, slot: name, bridges, secrets, watchesPositions: trace })
  onCleanup(() => monitor.stop())
  monitor.start()
  const servers = { postgres, rabbit }
  return {
    options,
    name,
    ...servers,
    database,
    bridges,
    load,
    queues,
    arrivals,
    witness,
    monitor,
    window,
    storeInterval,
  }
}

async function ownLinks(postgres: PostgresServer, rabbit: RabbitServer, onCleanup: OnCleanup): Promise<Links> {
  const links = {
    postgres: await startTcpProxy(postgres.directUrl),
    rabbit: await startTcpProxy(rabbit.directUrl),
  }
  for (const proxy of Object.values(links)) onCleanup(() => proxy.close())
  return links
}

/** The urls with these proxies for hosts. */
function through({ postgres, rabbit }: Links, env: Readonly<Record<string, string>>): Record<string, string> {
  const { WAL2RABBIT_SOURCE_URL: source, WAL2RABBIT_SINK_URL: sink } = env
  return {
    ...env,
    ...(source !== undefined && { WAL2RABBIT_SOURCE_URL: postgres.urlFor(source) }),
    ...(sink !== undefined && { WAL2RABBIT_SINK_URL: rabbit.urlFor(sink) }),
  }
}

async function removeNames(channel: Channel, exchange: string, queues: readonly SceneQueue[]): Promise<void> {
  for (const { name } of queues) await channel.deleteQueue(name)
  await channel.deleteExchange(exchange)
}

/** With all that would refuse it: sessions, slots, and transactions that were prepared and never ended. */
async function dropDatabase(admin: Database, name: string): Promise<void> {
  const endSessions = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1'
  await admin.query(endSessions, [name])
  const prepared = await admin.query('SELECT gid FROM pg_prepared_xacts WHERE database = $1', [name])
  if (prepared.length > 0) {
    // Only from inside its database, which is all that this connection is for.
    const inside = new Database(admin.urlFor(name), 'rig_cleanup')
    for (const { gid } of prepared) await inside.query(`ROLLBACK PREPARED '${gid}'`)
    await inside.close()
  }
  for (let attempt = 0; attempt < 50; attempt++) {
    await admin.query(endSessions, [name])
    const slots = await admin.query('SELECT slot_name, active FROM pg_replication_slots WHERE database = $1', [name])
    for (const { slot_name: slot, active } of slots) {
      if (active === false) await admin.query('SELECT pg_drop_replication_slot($1)', [slot]).catch(() => undefined)
    }
    if (slots.length === 0) break
    await admin.query('SELECT pg_sleep(0.1)')
  }
  await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
}
