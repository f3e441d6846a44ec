import { BridgeError } from '../base/errors.ts'
import { type AmqpConnection, BrokerDialer, type BrokerOptions } from '../sink/amqp-connection.ts'
import { exchangeExists, queueExists, requireWritePermission } from '../sink/topology.ts'

/** Where a replay is to be sent in place of where events go. */
export interface AskedDestination {
  readonly exchange?: string | undefined
  readonly queue?: string | undefined
}

/**
 * Looks for the queue or exchange that a command line names, before anything is recorded. Rejects with USAGE when it does
 * not exist, with SINK_PERMISSION_DENIED when the user may not publish there.
 */
export async function requireDestination(options: BrokerOptions, { exchange, queue }: AskedDestination): Promise<void> {
  if (exchange === undefined && queue === undefined) return
  let connection: AmqpConnection
  try {
    connection = await new BrokerDialer(options).dial()
  } catch {
    // Nothing is known of it then. The replay itself waits for the broker, and says why.
    return
  }
  try {
    if (queue !== undefined && !(await queueExists(connection, queue))) throw missing('queue', queue, connection)
    if (exchange !== undefined && !(await exchangeExists(connection, exchange))) {
      throw missing('exchange', exchange, connection)
    }
    // A queue alone is reached by the default exchange, for which few users have the permission: without it every event
    // would become a dead letter.
    await requireWritePermission(connection, queue === undefined ? exchange! : '')
  } finally {
    await connection.close()
  }
}

function missing(kind: 'queue' | 'exchange', name: string, { endpoint }: AmqpConnection): BridgeError {
  return new BridgeError(
    'USAGE',
    `--${kind} is ${JSON.stringify(name)}, expected one that exists: ${endpoint} has none of that name`,
  )
}
