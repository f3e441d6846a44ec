import { BridgeError } from '../base/errors.ts'
import { type AmqpConnection, BrokerDialer } from '../sink/amqp-connection.ts'
import { type PreparedItem, type PrepareOptions, prepareBroker } from '../sink/broker-setup.ts'
import { exchangeExists, queueExists, requireExchange } from '../sink/topology.ts'
import type { InitStep } from './init-step.ts'

type BrokerPlan = Omit<PrepareOptions, 'create'>

/**
 * The broker's side of `init`: exchanges, queues and bindings, each with what became of it. A dry run looks passively and
 * tells what would become of it. Rejects with a BridgeError, the dry run where `init` would.
 */
export async function initBroker(plan: BrokerPlan, dryRun: boolean): Promise<InitStep[]> {
  const items = dryRun ? await lookAtBroker(plan) : await prepareBroker({ ...plan, create: true })
  return [...items.map((item) => ({ ...item, sql: '' })), ...bindingSteps(plan, items)]
}

async function lookAtBroker(plan: BrokerPlan): Promise<PreparedItem[]> {
  const connection = await new BrokerDialer(plan).dial()
  try {
    return await lookAround(connection, plan)
  } finally {
    await connection.close()
  }
}

async function lookAround(
  connection: AmqpConnection,
  { exchange, routeExchanges = [], topology }: BrokerPlan,
): Promise<PreparedItem[]> {
  const declare = topology.mode === 'declare'
  const listed = new Set(topology.exchanges.map((spec) => spec.name))
  const found: PreparedItem[] = []
  const note = (name: string, existed: boolean) => found.push({ name, outcome: existed ? 'kept' : 'created' })
  for (const name of new Set([...listed, exchange])) {
    // In mode verify init creates only sink.exchange, and only when the topology does not list it.
    if (!declare && listed.has(name)) await requireExchange(connection, { name, key: 'sink.topology' })
    note(`exchange "${name}"`, await exchangeExists(connection, name))
  }
  for (const { name } of topology.queues) {
    const existed = await queueExists(connection, name)
    if (!existed && !declare) {
      throw new BridgeError('SINK_TOPOLOGY', `queue "${name}" does not exist on ${connection.endpoint}`)
    }
    note(`queue "${name}"`, existed)
  }
  for (const required of routeExchanges) {
    if (!declare || !listed.has(required.name)) await requireExchange(connection, required)
  }
  return found
}

/** A binding of something that is new is new. Of any other AMQP cannot tell; to declare it again changes nothing. */
function bindingSteps({ topology }: BrokerPlan, items: readonly PreparedItem[]): InitStep[] {
  const created = new Set(items.filter((item) => item.outcome === 'created').map((item) => item.name))
  return topology.bindings.map(({ exchange, queue, routingKey }) => {
    const name = `binding of queue "${queue}" to exchange "${exchange}" with key "${routingKey}"`
    if (topology.mode === 'verify') {
      return { name, outcome: 'kept', sql: '', detail: 'not looked at: AMQP has no way to look for a binding' }
    }
    if (created.has(`queue "${queue}"`) || created.has(`exchange "${exchange}"`)) {
      return { name, outcome: 'created', sql: '' }
    }
    return { name, outcome: 'kept', sql: '', detail: 'declared again: AMQP has no way to look for a binding' }
  })
}
