import { cpus, totalmem } from 'node:os'
import type { Latency } from './latency.ts'
import type { Memory } from './memory.ts'
import { rate_perSecond } from './paced-load.ts'
import type { Servers } from './servers.ts'
import { median, percentile, type Spread, spread } from './statistics.ts'
import type { Run, Throughput } from './throughput.ts'

export function machineLine(servers: Servers): string {
  const { length } = cpus()
  const memory = Math.round(totalmem() / 1e9)
  return [
    `${length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${memory} GB, shared with both servers`,
    `Node ${process.versions.node}, PostgreSQL ${servers.postgresVersion}, RabbitMQ ${servers.rabbitVersion}`,
  ].join('; ')
}

/** A Markdown table: medians, smallest and largest in brackets. */
export function throughputTable(result: Throughput, events: number): string {
  const { pairs, queue } = result
  const row = (name: string, digits: number, scale: number, of: (run: Run) => number): string => {
    const plain = pairs.map((pair) => of(pair.plain) / scale)
    const bridge = pairs.map((pair) => of(pair.bridge) / scale)
    const paired = median(bridge.map((value, index) => value / plain[index]!))
    const cells = [
      name,
      shown(spread(plain), digits),
      shown(spread(bridge), digits),
      (median(bridge) / median(plain)).toFixed(2),
      paired.toFixed(2),
    ]
    return `| ${cells.join(' | ')} |`
  }
  return [
    `${queue} queue, ${events} events, ${pairs.length} rounds: median (min–max)`,
    '',
    '| | plain amqplib | wal2rabbit | ratio of medians | median of ratios |',
    '|---|---|---|---|---|',
    row('events/s', 0, 1, (run) => run.events_perSecond),
    row('CPU µs/event', 1, 1, (run) => run.cpu_us_perEvent),
    row('max RSS, MB', 0, 1e6, (run) => run.peak_bytes),
  ].join('\n')
}

function shown({ median: middle, min, max }: Spread, digits: number): string {
  return `${middle.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}

export function latencyTable({ queue, direct_ms, bridge_ms }: Latency): string {
  const row = (name: string, values: readonly number[]): string =>
    `| ${name} | ${[50, 95, 99].map((percent) => percentile(values, percent).toFixed(2)).join(' | ')} |`
  const difference = percentile(bridge_ms, 50) - percentile(direct_ms, 50)
  return [
    `${queue} queue, ${rate_perSecond} events/s, ${bridge_ms.length} events a side, milliseconds`,
    '',
    '| | p50 | p95 | p99 |',
    '|---|---|---|---|',
    row('publish → consumer', direct_ms),
    row('commit → consumer', bridge_ms),
    '',
    `p50 difference: ${difference.toFixed(2)} ms`,
  ].join('\n')
}

export function memoryLine({ queue, rows, seconds, start_bytes, max_bytes, end_bytes }: Memory): string {
  const [start, max, end] = [start_bytes, max_bytes, end_bytes].map((bytes) => (bytes / 1e6).toFixed(0))
  return `${queue} queue, one transaction of ${rows} rows in ${seconds.toFixed(0)} s: RSS start ${start} MB, max ${max} MB, end ${end} MB`
}
