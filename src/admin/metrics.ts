import prom from 'prom-client'
import type { LatencyHistogram } from './latency-histogram.ts'
import { type Series, statusSeries } from './series.ts'
import type { Status, StatusProvider } from './status.ts'

/** The page `/metrics`. */
export interface Metrics {
  readonly contentType: string
  /** Reads the status once and writes every metric in the text format 0.0.4. */
  expose(): Promise<string>
}

interface MetricsOptions {
  readonly provider: StatusProvider
  /** Publish to confirm; fed by whoever hears the confirms. */
  readonly confirmLatency: LatencyHistogram
}

/** Metrics of the bridge and of the process, in a registry of their own, filled only when somebody asks. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new prom.Registry()
  const writers = statusSeries.map((series) => seriesWriter(registry, series))
  prom.collectDefaultMetrics({ register: registry })
  return {
    contentType: prom.Registry.PROMETHEUS_CONTENT_TYPE,
    async expose() {
      const status = options.provider()
      for (const write of writers) write(status)
      const histogram = options.confirmLatency.exposition(
        'wal2rabbit_confirm_latency_seconds',
        'Time from the publish of a message to its confirm.',
      )
      return `${await registry.metrics()}\n${histogram}`
    },
  }
}

/** Registers one metric; the function returned sets it anew, without series whose reading is null. */
function seriesWriter(registry: prom.Registry, series: Series): (status: Status) => void {
  const config = {
    name: series.name,
    help: series.help,
    labelNames: series.label === undefined ? [] : [series.label],
    registers: [registry],
  }
  const counter = series.kind === 'counter' ? new prom.Counter(config) : undefined
  const metric = counter ?? new prom.Gauge(config)
  return (status) => {
    const reading = series.read(status)
    metric.reset()
    // reset() leaves an unlabelled metric at 0, which would read as a value
    if (reading === null) metric.remove()
    else if (typeof reading === 'number') metric.inc(reading)
    else
      for (const [value, number] of Object.entries(reading))
        if (number !== null) metric.inc({ [series.label!]: value }, number)
  }
}
