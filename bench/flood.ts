import { BridgeRun } from './bridge-run.ts'
import { fillBacklog, fillFlood } from './events.ts'
import type { BenchOptions, QueueType } from './options.ts'
import type { Servers } from './servers.ts'
import { median } from './statistics.ts'

/** Good events a second, without and with as many events beside them that no queue takes. */
export interface Flood {
  readonly queue: QueueType
  readonly events: number
  readonly rounds: readonly { readonly alone: number; readonly flooded: number }[]
}

const bound_ms = 600_000

/** In turn: the good events alone, and interleaved with a flood to one dead route, all of which become dead letters. */
export async function measureFlood(
  options: Pick<BenchOptions, 'events' | 'rounds'>,
  queue: QueueType,
  servers: Servers,
  say: (line: string) => void,
): Promise<Flood> {
  const rounds: { alone: number; flooded: number }[] = []
  for (let round = 0; round <= options.rounds; round++) {
    const alone = await drain(options.events, false, queue, servers)
    const flooded = await drain(options.events, true, queue, servers)
    say(
      `${queue} ${round === 0 ? 'warm-up' : `round ${round}`}: alone ${Math.round(alone)}/s, flooded ${Math.round(flooded)}/s`,
    )
    if (round > 0) rounds.push({ alone, flooded })
  }
  return { queue, events: options.events, rounds }
}

export function floodLine({ queue, events, rounds }: Flood): string {
  const ratio = median(rounds.map(({ alone, flooded }) => flooded / alone))
  return `${queue}: ${events} good events among ${events} to one dead route keep ${ratio.toFixed(2)} of their rate (median of ${rounds.length})`
}

/** Good events a second, from the arrival of the first mark to that of the last. */
async function drain(events: number, flooded: boolean, queue: QueueType, servers: Servers): Promise<number> {
  const { client, broker, postgresUrl, rabbitUrl } = servers
  await broker.freshQueue(queue)
  if (flooded) await fillFlood(client, events)
  else await fillBacklog(client, events, 'small')
  const first = broker.mark('bench.first')
  const last = broker.mark('bench.last')
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  let seconds: number
  try {
    const startedAt = await bridge.during(first, bound_ms)
    seconds = ((await bridge.during(last, bound_ms)) - startedAt) / 1000
  } finally {
    await bridge.stop()
  }
  const { rows } = await client.query('SELECT count(*)::int AS kept FROM wal2rabbit.dead_letter')
  const expected = flooded ? events : 0
  if (rows[0].kept !== expected) throw new Error(`${rows[0].kept} dead letters; expected ${expected}`)
  await client.query('TRUNCATE wal2rabbit.dead_letter')
  return events / seconds
}
