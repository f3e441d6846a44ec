import { version } from './base/version.ts'
import type { LoadedConfig } from './config/load.ts'
import { brokerTls } from './setup/broker-tls.ts'
import { routeExchanges } from './setup/route-exchanges.ts'
import { RabbitmqSink, type RabbitmqSinkOptions } from './sink/rabbitmq-sink.ts'

/** What differs between the bridge and the commands that publish. */
export type SinkParts = Pick<
  RabbitmqSinkOptions,
  'window' | 'order' | 'lease' | 'keeper' | 'retry' | 'retryReturned' | 'onConfirmLatency' | 'log'
> &
  // A replay has a name of its own, and to another destination needs what that needs, not what the bridge needs.
  Partial<Pick<RabbitmqSinkOptions, 'connectionName' | 'exchanges' | 'topology'>>

/** The sink as configured. Rejects with a BridgeError for a certificate that cannot be read. */
export async function makeSink(loaded: LoadedConfig, parts: SinkParts): Promise<RabbitmqSink> {
  const { sink, routes } = loaded.config
  return new RabbitmqSink({
    urls: () => loaded.sinkUrls(),
    tls: await brokerTls(sink.tls),
    heartbeat: sink.heartbeat,
    connectTimeout: sink.connectTimeout,
    version,
    exchanges: [{ name: sink.exchange, key: 'sink.exchange' }, ...routeExchanges(sink.exchange, routes)],
    topology: sink.topology,
    confirmTimeout: sink.confirmTimeout,
    ...parts,
  })
}
