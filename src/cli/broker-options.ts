import { version } from '../base/version.ts'
import type { LoadedConfig } from '../config/load.ts'

/** What init and check are to know of the broker. Rejects with CONFIG_INVALID when a file of sink.tls cannot be read. */
export async function brokerOptions(loaded: LoadedConfig) {
  const { tls, exchange, topology, heartbeat, connectTimeout } = loaded.config.sink
  const { brokerTls } = await import('../setup/broker-tls.ts')
  const { routeExchanges } = await import('../setup/route-exchanges.ts')
  return {
    urls: () => loaded.sinkUrls(),
    tls: await brokerTls(tls),
    exchange,
    routeExchanges: routeExchanges(exchange, loaded.config.routes),
    topology,
    heartbeat,
    connectTimeout,
    version,
  }
}
