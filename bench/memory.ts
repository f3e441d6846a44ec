import { setTimeout as delay } from 'node:timers/promises'
import { BridgeRun } from './bridge-run.ts'
import { fillBacklog, markEvents } from './events.ts'
import type { BenchOptions, QueueType } from './options.ts'
import type { Servers } from './servers.ts'

export interface MemorySample {
  /** Since the first event was published. */
  readonly seconds: number
  readonly confirmed: number
  readonly resident_bytes: number
}

export interface Memory {
  readonly queue: QueueType
  readonly rows: number
  readonly seconds: number
  /** When the first event was published. */
  readonly start_bytes: number
  /** The most since the process was started. */
  readonly max_bytes: number
  /** When the last was confirmed. */
  readonly end_bytes: number
  readonly samples: readonly MemorySample[]
}

const sampleInterval_ms = 2000
const bound_ms = 1_800_000

/** Drains one transaction of so many rows and samples the resident memory of the bridge meanwhile. */
export async function measureMemory(
  options: Pick<BenchOptions, 'events'>,
  queue: QueueType,
  servers: Servers,
  say: (line: string) => void,
): Promise<Memory> {
  const { broker, client, postgresUrl, rabbitUrl } = servers
  await broker.freshQueue(queue)
  say(`writing one transaction of ${options.events} rows`)
  await fillBacklog(client, options.events, 'single')
  const first = broker.mark('bench.first')
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  try {
    const startedAt = await bridge.during(first, bound_ms)
    const start = await bridge.usage()
    const samples: MemorySample[] = []
    const draining = async (): Promise<void> => {
      for (let confirmed = 0; confirmed < options.events + markEvents; await delay(sampleInterval_ms)) {
        confirmed = (await bridge.status()).counters.confirmed
        const { resident_bytes } = await bridge.usage()
        const seconds = (performance.now() - startedAt) / 1000
        samples.push({ seconds, confirmed, resident_bytes })
        say(`${seconds.toFixed(0).padStart(5)} s  ${String(confirmed).padStart(9)}  ${megabytes(resident_bytes)} MB`)
      }
    }
    await bridge.during(draining(), bound_ms)
    const end = await bridge.usage()
    return {
      queue,
      rows: options.events,
      seconds: samples.at(-1)!.seconds,
      start_bytes: start.resident_bytes,
      max_bytes: end.peak_bytes,
      end_bytes: end.resident_bytes,
      samples,
    }
  } finally {
    await bridge.stop()
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0).padStart(4)
}
