import { BridgeError } from '../base/errors.ts'
import type { BrokerDialer } from './amqp-connection.ts'
import { connectFailure } from './failure.ts'
import { type ChannelHandlers, PublishChannel } from './publish-channel.ts'
import {
  applyTopology,
  type RequiredExchange,
  requireExchange,
  requireWritePermission,
  type Topology,
} from './topology.ts'

export interface OpenChannelOptions {
  readonly dialer: BrokerDialer
  readonly topology: Topology
  /** Exchanges that must exist, or nothing is published. */
  readonly exchanges: readonly RequiredExchange[]
  /** Whether the broker refused a publish for want of permission: look at that before publishing again. */
  readonly checkPermission: boolean
  /** Milliseconds for everything after the login. */
  readonly setupTimeout: number
  readonly signal: AbortSignal
  readonly handlers: ChannelHandlers
}

/** Connects, declares or verifies, and opens the confirm channel. Rejects with a BridgeError, leaving nothing open. */
export async function openPublishChannel(options: OpenChannelOptions): Promise<PublishChannel> {
  const { dialer, exchanges, setupTimeout, signal } = options
  const connection = await dialer.dial(signal)
  let late = false
  const timer = setTimeout(() => {
    late = true
    connection.destroy()
  }, setupTimeout)
  const abort = () => connection.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    await applyTopology(connection, options.topology)
    for (const exchange of exchanges) await requireExchange(connection, exchange)
    if (options.checkPermission) {
      for (const { name } of exchanges) await requireWritePermission(connection, name)
    }
    const channel = await connection.openConfirmChannel()
    return new PublishChannel(connection, channel, options.handlers)
  } catch (error) {
    await connection.close()
    if (late) {
      const text = `${connection.endpoint} gave no answer within ${setupTimeout} ms`
      throw new BridgeError('SINK_UNREACHABLE', text, { cause: error })
    }
    throw connectFailure(error, connection.endpoint)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}
