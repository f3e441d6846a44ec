import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { formatDuration, formatSize } from '../src/config/units.ts'
import { BridgeRun } from './bridge-run.ts'
import type { BenchOptions } from './options.ts'
import type { Servers } from './servers.ts'
import { percentile } from './statistics.ts'
import { type WalLoad, writeWal } from './wal-load.ts'

/** The replay window under heavy writes with a small limit, as pg_replication_slots shows it. */
export interface ReplayWindowRun {
  readonly bytes: number
  readonly duration_ms: number
  readonly load: WalLoad
  readonly samples: number
  /** The most WAL that any anchor kept from being removed; at most twice `bytes`. */
  readonly peakRetained: number
  readonly mostAnchors: number
  readonly made: number
  /** Of all samples after the window was first whole: how many reached back by `bytes`, and the 1st percentile. */
  readonly wholeShare: number
  readonly window_p1: number
  /** Of the live stream: the oldest unsettled event, at its worst, in seconds. */
  readonly worstLag: number
}

const sampleInterval_ms = 200
const sampleSql = `SELECT slot_name AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 AS retained,
  pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8 AS behind
  FROM pg_replication_slots WHERE slot_name LIKE '%\\_anchor\\_%'`

export async function measureWindow(
  options: Pick<BenchOptions, 'window_ms' | 'windowBytes'>,
  servers: Servers,
  say: (line: string) => void,
): Promise<ReplayWindowRun> {
  const { postgresUrl, rabbitUrl, broker } = servers
  const bytes = options.windowBytes
  await broker.freshQueue('classic')
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl, { WAL2RABBIT_REPLAY_WINDOW_BYTES: String(bytes) })
  const over = new AbortController()
  const client = new pg.Client({ connectionString: postgresUrl })
  await client.connect()
  try {
    await bridge.during(bridge.untilStreaming(), 60_000)
    const loading = writeWal(postgresUrl, over.signal, 4)
    const names = new Set<string>()
    const windows: number[] = []
    let [samples, peakRetained, mostAnchors, worstLag] = [0, 0, 0, 0]
    const sampling = async () => {
      const end = performance.now() + options.window_ms
      for (; performance.now() < end; await delay(sampleInterval_ms)) {
        const { rows } = await client.query<{ name: string; retained: number; behind: number }>(sampleSql)
        for (const { name } of rows) names.add(name)
        samples++
        peakRetained = Math.max(peakRetained, ...rows.map(({ retained }) => retained))
        mostAnchors = Math.max(mostAnchors, rows.length)
        const reaches = Math.max(0, ...rows.map(({ behind }) => behind))
        if (windows.length > 0 || reaches >= bytes) windows.push(reaches)
        if (samples % 10 === 0) worstLag = Math.max(worstLag, (await bridge.status()).lag.seconds)
        if (samples % 150 === 0)
          say(`${samples} samples: peak ${shown(peakRetained, bytes)} B, ${names.size} anchors made`)
      }
    }
    await bridge.during(sampling(), options.window_ms + 60_000)
    over.abort()
    const load = await loading
    await bridge.during(bridge.untilConfirmed(load.events), 120_000)
    return {
      bytes,
      duration_ms: options.window_ms,
      load,
      samples,
      peakRetained,
      mostAnchors,
      made: names.size,
      wholeShare: windows.filter((one) => one >= bytes).length / Math.max(1, windows.length),
      window_p1: windows.length === 0 ? 0 : percentile(windows, 1),
      worstLag,
    }
  } finally {
    over.abort()
    await client.end()
    await bridge.stop()
  }
}

export function windowLine(run: ReplayWindowRun): string {
  const { bytes, load } = run
  return [
    `replay.window.bytes ${formatSize(bytes)}, ${formatDuration(run.duration_ms)} of writes: ${(load.walBytes / 1e9).toFixed(1)} GB of WAL, ${load.events} events, all confirmed`,
    `WAL retained by an anchor, ${run.samples} samples: at most ${shown(run.peakRetained, bytes)} × bytes (bound 2)`,
    `anchors made ${run.made}, at most ${run.mostAnchors} at once`,
    `window reached: whole in ${(run.wholeShare * 100).toFixed(1)} % of the samples, 1st percentile ${shown(run.window_p1, bytes)} × bytes`,
    `live stream: oldest unsettled event at most ${run.worstLag.toFixed(1)} s`,
  ].join('\n')
}

function shown(amount: number, bytes: number): string {
  return (amount / bytes).toFixed(2)
}
