import { BridgeError, toBridgeError } from '../base/errors.ts'
import { type AmqpConnection, BrokerDialer, type BrokerOptions } from './amqp-connection.ts'
import {
  declareBinding,
  declareExchange,
  declareQueue,
  exchangeExists,
  queueExists,
  type RequiredExchange,
  requireExchange,
  requireWritePermission,
  type Topology,
} from './topology.ts'

export interface PreparedItem {
  /** `exchange "outbox"`, `queue "orders"`. */
  readonly name: string
  readonly outcome: 'kept' | 'created'
}

/** Where events go. */
export interface BrokerTarget extends BrokerOptions {
  /** `sink.exchange` */
  readonly exchange: string
  /** Those that routes name: looked for, never created. */
  readonly routeExchanges?: readonly RequiredExchange[]
}

export interface PrepareOptions extends BrokerTarget {
  readonly topology: Topology
  /** False only looks: what is missing rejects. */
  readonly create: boolean
}

/**
 * Makes the exchange and the topology ready, for `init`; safe to repeat. The exchange is declared (topic, durable) only
 * where it is missing, so that one of another type is kept. Rejects with a BridgeError; with SINK_EXCHANGE_MISSING for
 * an exchange of a route that nobody declares, once all else is ready.
 */
export async function prepareBroker(options: PrepareOptions): Promise<PreparedItem[]> {
  return withConnection(options, async (connection) => {
    const { exchange, routeExchanges = [], topology, create } = options
    const declare = create && topology.mode === 'declare'
    const done: PreparedItem[] = []
    const note = (name: string, existed: boolean) => done.push({ name, outcome: existed ? 'kept' : 'created' })
    for (const spec of topology.exchanges) {
      const existed = await exchangeExists(connection, spec.name)
      if (declare) await declareExchange(connection, spec)
      else if (!existed) await requireExchange(connection, { name: spec.name, key: 'sink.topology' })
      note(`exchange "${spec.name}"`, existed)
    }
    if (!topology.exchanges.some((spec) => spec.name === exchange)) {
      const existed = await exchangeExists(connection, exchange)
      if (!existed && create) await declareExchange(connection, { name: exchange, type: 'topic', durable: true })
      else if (!existed) await requireExchange(connection, { name: exchange, key: 'sink.exchange' })
      note(`exchange "${exchange}"`, existed)
    }
    for (const spec of topology.queues) {
      const existed = await queueExists(connection, spec.name)
      if (declare) await declareQueue(connection, spec)
      else if (!existed)
        throw new BridgeError('SINK_TOPOLOGY', `queue "${spec.name}" does not exist on ${connection.endpoint}`)
      note(`queue "${spec.name}"`, existed)
    }
    if (declare) for (const spec of topology.bindings) await declareBinding(connection, spec)
    for (const required of routeExchanges) await requireExchange(connection, required)
    return done
  })
}

export interface BrokerFinding {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
  readonly remedy?: string
}

/** Looks whether the bridge could publish, for `check`; changes nothing and publishes nothing. Never rejects. */
export async function checkBroker(options: BrokerTarget): Promise<BrokerFinding[]> {
  const { exchange, routeExchanges = [] } = options
  const findings: BrokerFinding[] = []
  const look = async (name: string, detail: string, operate: () => Promise<unknown>): Promise<boolean> => {
    try {
      await operate()
      findings.push({ name, ok: true, detail })
      return true
    } catch (thrown) {
      const error = toBridgeError(thrown)
      findings.push({ name, ok: false, detail: error.message, remedy: error.remedy })
      return false
    }
  }
  let connection: AmqpConnection | undefined
  await look('broker', 'reachable, login and vhost accepted', async () => {
    connection = await new BrokerDialer(options).dial()
  })
  if (connection === undefined) return findings
  const open = connection
  try {
    for (const required of [{ name: exchange, key: 'sink.exchange' }, ...routeExchanges]) {
      const { name } = required
      const title = name === '' ? 'the default exchange' : `exchange "${name}"`
      const found = name === '' || (await look('exchange', `${title} exists`, () => requireExchange(open, required)))
      if (found) await look('write permission', `may publish to ${title}`, () => requireWritePermission(open, name))
    }
  } finally {
    await open.close()
  }
  return findings
}

async function withConnection<T>(options: BrokerOptions, work: (connection: AmqpConnection) => Promise<T>): Promise<T> {
  const connection = await new BrokerDialer(options).dial()
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}
