import type pg from 'pg'
import { BridgeRun } from './bridge-run.ts'
import type { Broker } from './broker.ts'
import { fillBacklog, markEvents } from './events.ts'
import type { BenchOptions, QueueType } from './options.ts'
import { runPublisher } from './publisher-run.ts'
import type { Servers } from './servers.ts'

/** One side, once. */
export interface Run {
  readonly events_perSecond: number
  readonly cpu_us_perEvent: number
  readonly peak_bytes: number
}

/** Both sides, one right after the other. */
export interface Pair {
  readonly plain: Run
  readonly bridge: Run
}

export interface Throughput {
  readonly queue: QueueType
  readonly pairs: readonly Pair[]
}

/** Longest that one backlog may take. */
const roundBound_ms = 600_000

/** Rounds of both sides in turn, so that a slow spell of the machine hits both; the first pair warms up and is not kept. */
export async function measureThroughput(
  options: Pick<BenchOptions, 'events' | 'rounds'>,
  queue: QueueType,
  servers: Servers,
  say: (line: string) => void,
): Promise<Throughput> {
  const { broker, client, rabbitUrl, postgresUrl } = servers
  const pairs: Pair[] = []
  for (let round = 0; round <= options.rounds; round++) {
    await broker.freshQueue(queue)
    const plain = await runPublisher(rabbitUrl, options.events)
    await broker.freshQueue(queue)
    const bridge = await drainBacklog({ client, broker, postgresUrl, rabbitUrl }, options.events)
    say(`${queue} ${round === 0 ? 'warm-up' : `round ${round}`}: plain ${shown(plain)}, bridge ${shown(bridge)}`)
    if (round > 0) pairs.push({ plain, bridge })
  }
  return { queue, pairs }
}

interface BacklogServers {
  readonly client: pg.Client
  readonly broker: Broker
  readonly postgresUrl: string
  readonly rabbitUrl: string
}

/**
 * Fills the outbox while the bridge is down, starts it, and measures from the arrival of the first mark, which is
 * published before the events, until all is confirmed. In between nobody asks the bridge anything but once a second.
 */
async function drainBacklog(servers: BacklogServers, events: number): Promise<Run> {
  const { client, broker, postgresUrl, rabbitUrl } = servers
  await fillBacklog(client, events, 'small')
  const first = broker.mark('bench.first')
  const last = broker.mark('bench.last')
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  try {
    const startedAt = await bridge.during(first, roundBound_ms)
    const before = await bridge.usage()
    await bridge.during(last, roundBound_ms)
    await bridge.during(bridge.untilConfirmed(events + markEvents), roundBound_ms)
    const elapsed_ms = performance.now() - startedAt
    const after = await bridge.usage()
    return {
      events_perSecond: events / (elapsed_ms / 1000),
      cpu_us_perEvent: ((after.cpu_seconds - before.cpu_seconds) * 1e6) / events,
      peak_bytes: after.peak_bytes,
    }
  } finally {
    await bridge.stop()
  }
}

function shown(run: Run): string {
  const memory = Math.round(run.peak_bytes / 1e6)
  return `${Math.round(run.events_perSecond)}/s ${run.cpu_us_perEvent.toFixed(1)} µs ${memory} MB`
}
