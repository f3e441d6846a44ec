import type { Channel } from 'amqplib'
import { BridgeError } from '../base/errors.ts'
import type { AmqpConnection } from './amqp-connection.ts'
import { brokerReply, connectionLost, refusesTopic, topologyFailure } from './failure.ts'
import type { HeaderValue } from './sink.ts'

export interface ExchangeSpec {
  readonly name: string
  readonly type: string
  readonly durable: boolean
  readonly arguments?: Readonly<Record<string, HeaderValue>> | undefined
}

export interface QueueSpec {
  readonly name: string
  readonly type: 'quorum' | 'classic' | 'stream'
  readonly durable: boolean
  readonly arguments?: Readonly<Record<string, HeaderValue>> | undefined
}

export interface BindingSpec {
  readonly exchange: string
  readonly queue: string
  readonly routingKey: string
  readonly arguments?: Readonly<Record<string, HeaderValue>> | undefined
}

/** What is to be there. `verify` looks for exchanges and queues; AMQP has no way to look for a binding. */
export interface Topology {
  readonly mode: 'declare' | 'verify'
  readonly exchanges: readonly ExchangeSpec[]
  readonly queues: readonly QueueSpec[]
  readonly bindings: readonly BindingSpec[]
}

/** An exchange that events go to, and the key of the configuration that names it: `routes[0].exchange`. */
export interface RequiredExchange {
  readonly name: string
  readonly key: string
}

/** Declares or verifies the topology. Rejects with SINK_TOPOLOGY, SINK_PERMISSION_DENIED or SINK_EXCHANGE_MISSING. */
export async function applyTopology(connection: AmqpConnection, topology: Topology): Promise<void> {
  const declare = topology.mode === 'declare'
  for (const spec of topology.exchanges) {
    if (declare) await declareExchange(connection, spec)
    else await requireExchange(connection, { name: spec.name, key: 'sink.topology' })
  }
  for (const spec of topology.queues) {
    if (declare) await declareQueue(connection, spec)
    else await onChannel(connection, queueText(spec.name), (channel) => channel.checkQueue(spec.name))
  }
  if (declare) for (const spec of topology.bindings) await declareBinding(connection, spec)
}

/** Looks whether an exchange exists, without any permission; the default exchange always does. */
export async function exchangeExists(connection: AmqpConnection, name: string): Promise<boolean> {
  if (name === '') return true
  return exists(connection, exchangeText(name), (channel) => channel.checkExchange(name))
}

export function queueExists(connection: AmqpConnection, name: string): Promise<boolean> {
  return exists(connection, queueText(name), (channel) => channel.checkQueue(name))
}

/** Rejects with SINK_EXCHANGE_MISSING, which names the key, when there is no such exchange. */
export async function requireExchange(connection: AmqpConnection, { name, key }: RequiredExchange): Promise<void> {
  if (await exchangeExists(connection, name)) return
  const text = `${exchangeText(name)} does not exist on ${connection.endpoint}, and ${key} names it`
  throw new BridgeError('SINK_EXCHANGE_MISSING', text)
}

export function declareExchange(connection: AmqpConnection, spec: ExchangeSpec): Promise<void> {
  const options = { durable: spec.durable, arguments: { ...spec.arguments } }
  return onChannel(connection, exchangeText(spec.name), (c) => c.assertExchange(spec.name, spec.type, options))
}

export function declareQueue(connection: AmqpConnection, spec: QueueSpec): Promise<void> {
  const options = { durable: spec.durable, arguments: { ...spec.arguments, 'x-queue-type': spec.type } }
  return onChannel(connection, queueText(spec.name), (c) => c.assertQueue(spec.name, options))
}

export function declareBinding(connection: AmqpConnection, spec: BindingSpec): Promise<void> {
  const what = `binding of queue "${spec.queue}" to exchange "${spec.exchange}" with key "${spec.routingKey}"`
  return onChannel(connection, what, (c) =>
    c.bindQueue(spec.queue, spec.exchange, spec.routingKey, { ...spec.arguments }),
  )
}

/**
 * Rejects with SINK_PERMISSION_DENIED when the user may not write to the exchange. A publish that the broker must refuse
 * for its properties (another user's id, an expiration that is no number), so that nothing is routed whatever is bound:
 * RabbitMQ looks at the permission (403) and the exchange (404) first, and then at these (406).
 * Source: https://www.rabbitmq.com/docs/validated-user-id, rabbit_channel.erl
 */
export async function requireWritePermission(connection: AmqpConnection, name: string, timeout = 5000): Promise<void> {
  const channel = await connection.openChannel().catch((error) => {
    throw connectionLost(error, connection.endpoint)
  })
  let timer: NodeJS.Timeout | undefined
  const refused = await new Promise<unknown>((resolve) => {
    channel.on('error', resolve)
    channel.on('close', () => resolve(undefined))
    timer = setTimeout(() => resolve(new Error(`no answer within ${timeout} ms`)), timeout)
    channel.publish(name, 'wal2rabbit.permission-check', Buffer.alloc(0), { userId: ' ', expiration: 'none' })
  })
  clearTimeout(timer)
  const reply = brokerReply(refused)
  if (reply?.code === 406 || refusesTopic(reply)) return
  throw topologyFailure(refused, exchangeText(name), connection.endpoint)
}

/** Each on a channel of its own, as a refusal closes it. */
async function onChannel(
  connection: AmqpConnection,
  what: string,
  operate: (channel: Channel) => Promise<unknown>,
): Promise<void> {
  const use = async () => {
    const channel = await connection.openChannel()
    await operate(channel)
    await channel.close()
  }
  try {
    await connection.whileOpen(use())
  } catch (error) {
    throw topologyFailure(error, what, connection.endpoint)
  }
}

async function exists(
  connection: AmqpConnection,
  what: string,
  check: (channel: Channel) => Promise<unknown>,
): Promise<boolean> {
  try {
    await onChannel(connection, what, check)
    return true
  } catch (error) {
    if (error instanceof BridgeError && brokerReply(error.cause)?.code === 404) return false
    throw error
  }
}

/** Permissions know the default exchange as amq.default. */
const exchangeText = (name: string) => `exchange "${name === '' ? 'amq.default' : name}"`
const queueText = (name: string) => `queue "${name}"`
