import pg from 'pg'
import { BridgeRun } from './bridge-run.ts'
import { Broker } from './broker.ts'
import { fillBacklog, markEvents } from './events.ts'
import type { BenchOptions, QueueType } from './options.ts'
import { commitTimed, pace, rate_perSecond, Stopwatch } from './paced-load.ts'
import { type RunningCommand, startCommand } from './replay-process.ts'
import type { Servers } from './servers.ts'
import { median, percentile } from './statistics.ts'

/** What a replay costs the live stream, and what it gives itself. */
export interface Replay {
  readonly queue: QueueType
  /** Events of the history that is replayed, and of each live backlog. */
  readonly history: number
  readonly events: number
  /** Live events a second. */
  readonly rounds: readonly { readonly alone: number; readonly beside: number }[]
  /** Of a replay of the whole history with nothing beside it. */
  readonly replay_perSecond: { readonly wal: number; readonly table: number }
  readonly peak_bytes: { readonly wal: number; readonly table: number }
  /** Of live events at a steady rate, from the moment at which COMMIT returned until the consumer has it; one for each. */
  readonly latency_ms: { readonly alone: readonly number[]; readonly beside: readonly number[] }
}

const bound_ms = 1_800_000
const latency_seconds = 10
const slot = 'wal2rabbit'
/** A queue of its own, which forgets what nobody reads. */
const exchange = 'bench_replay'

/**
 * A history is delivered, then: live backlogs alone and beside a replay of that history, in turn; the history from the
 * WAL and from the table with nothing beside it.
 */
export async function measureReplay(
  options: Pick<BenchOptions, 'events' | 'rounds' | 'history'>,
  queue: QueueType,
  servers: Servers,
  say: (line: string) => void,
): Promise<Replay> {
  const { broker, client } = servers
  await broker.freshQueue(queue)
  await broker.forgetfulQueue(exchange, queue)
  const from = await deliverHistory(options.history, servers, say)

  const wal = await replayAlone(['--from', from, '--source', 'wal'], servers)
  say(`${queue}: replay from the WAL ${Math.round(wal.perSecond)}/s, ${megabytes(wal.peak_bytes)} MB`)
  const table = await replayAlone(['--from', from, '--source', 'table'], servers)
  say(`${queue}: replay from the table ${Math.round(table.perSecond)}/s, ${megabytes(table.peak_bytes)} MB`)

  const rounds: { alone: number; beside: number }[] = []
  for (let round = 0; round <= options.rounds; round++) {
    const alone = await drain(options.events, undefined, servers)
    const beside = await drain(options.events, from, servers)
    say(
      `${queue} ${round === 0 ? 'warm-up' : `round ${round}`}: live alone ${Math.round(alone)}/s, beside a replay ${Math.round(beside)}/s`,
    )
    if (round > 0) rounds.push({ alone, beside })
  }
  const latency_ms = await measureLatency(queue, from, servers)
  await client.query('TRUNCATE public.outbox')
  return {
    ...{ queue, history: options.history, events: options.events, rounds },
    replay_perSecond: { wal: wal.perSecond, table: table.perSecond },
    peak_bytes: { wal: wal.peak_bytes, table: table.peak_bytes },
    latency_ms,
  }
}

export function replayLine({
  queue,
  history,
  events,
  rounds,
  replay_perSecond,
  peak_bytes,
  latency_ms,
}: Replay): string {
  const ratio = median(rounds.map(({ alone, beside }) => beside / alone))
  const rates = `${Math.round(replay_perSecond.wal)}/s from the WAL, ${Math.round(replay_perSecond.table)}/s from the table`
  const memory = `${megabytes(peak_bytes.wal)} and ${megabytes(peak_bytes.table)} MB at most`
  return `${queue}: ${history} events replayed with ${rates} (${memory}); ${events} live events beside a replay keep ${ratio.toFixed(2)} of their rate (median of ${rounds.length}); at ${rate_perSecond}/s they arrive after ${latencies(latency_ms.alone)} alone, ${latencies(latency_ms.beside)} beside one`
}

function latencies(times: readonly number[]): string {
  return `${percentile(times, 50).toFixed(1)} ms (99 %: ${percentile(times, 99).toFixed(1)} ms)`
}

/** Gives the stored LSN before it. */
async function deliverHistory(events: number, servers: Servers, say: (line: string) => void): Promise<string> {
  const { client, broker, postgresUrl, rabbitUrl } = servers
  // The anchor of the first session reaches back to here.
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  try {
    await bridge.during(bridge.untilStreaming(), bound_ms)
    await bridge.during(untilAnchored(client), bound_ms)
    // A few events first: the table reaches back to the WAL end of the first stored snapshot, which lies above the first LSN.
    const begun = broker.mark('bench.last')
    await fillBacklog(client, 10, 'small')
    await bridge.during(begun, bound_ms)
    await bridge.during(untilStored(client), bound_ms)
    const from = await storedLsn(client)
    say(`delivering a history of ${events} events`)
    const last = broker.mark('bench.last')
    await fillBacklog(client, events, 'small')
    await bridge.during(last, bound_ms)
    await bridge.during(bridge.untilConfirmed(events + 10 + 2 * markEvents, 100), bound_ms)
    return from
  } finally {
    await bridge.stop()
  }
}

/** The same load twice, alone and beside a replay. */
async function measureLatency(queue: QueueType, replayFrom: string, servers: Servers): Promise<Replay['latency_ms']> {
  const { broker, postgresUrl, rabbitUrl } = servers
  // What the history left in it would have to be read first.
  await broker.freshQueue(queue)
  const stopwatch = new Stopwatch()
  const consumer = await Broker.connect(rabbitUrl)
  await consumer.listen(queue, (id, at) => stopwatch.arrived(id, at))
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 4 })
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  const load = () =>
    bridge.during(
      pace(latency_seconds, (id, n) => commitTimed(pool, stopwatch, id, n)).then((ids) => stopwatch.times(ids)),
      120_000,
    )
  try {
    await bridge.during(bridge.untilStreaming(), 60_000)
    const alone = await load()
    const replay = replayOf(replayFrom, servers)
    try {
      await broker.untilArrived(exchange)
      const beside = await load()
      requireRunning(replay)
      return { alone, beside }
    } finally {
      replay.stop()
      await replay.end
    }
  } finally {
    await bridge.stop()
    await pool.end()
    await consumer.close()
  }
}

async function untilAnchored(client: pg.Client): Promise<void> {
  const sql = `SELECT FROM pg_replication_slots WHERE slot_name LIKE $1`
  while ((await client.query(sql, [`${slot}\\_anchor\\_%`])).rowCount === 0) await client.query('SELECT pg_sleep(0.05)')
}

/** Everything that is in the table is stored. */
async function untilStored(client: pg.Client): Promise<void> {
  const sql = 'SELECT pg_current_wal_insert_lsn()::text AS lsn'
  const { lsn } = (await client.query(sql)).rows[0]
  const stored = 'SELECT FROM wal2rabbit.checkpoint WHERE slot = $1 AND lsn >= $2'
  while ((await client.query(stored, [slot, lsn])).rowCount === 0) {
    // A little WAL: a quiet server has nothing to move the stored LSN for.
    await client.query(`SELECT pg_logical_emit_message(false, 'bench', repeat('x', 2000)), pg_sleep(0.1)`)
  }
}

async function storedLsn(client: pg.Client): Promise<string> {
  const { rows } = await client.query('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint WHERE slot = $1', [slot])
  return String(rows[0].lsn)
}

async function replayAlone(args: readonly string[], servers: Servers) {
  const { facts, peak_bytes } = await startCommand(servers, ['replay', ...args, '--exchange', exchange]).end
  return { perSecond: Number(facts.eventsPublished) / Number(facts.seconds), peak_bytes }
}

/** Live events a second, from the arrival of the first mark to that of the last. */
async function drain(events: number, replayFrom: string | undefined, servers: Servers): Promise<number> {
  const { client, broker, postgresUrl, rabbitUrl } = servers
  await fillBacklog(client, events, 'small')
  const replay = replayFrom === undefined ? undefined : replayOf(replayFrom, servers)
  if (replay !== undefined) await broker.untilArrived(exchange)
  const first = broker.mark('bench.first')
  const last = broker.mark('bench.last')
  const bridge = await BridgeRun.start(postgresUrl, rabbitUrl)
  try {
    const startedAt = await bridge.during(first, bound_ms)
    const seconds = ((await bridge.during(last, bound_ms)) - startedAt) / 1000
    if (replay !== undefined) requireRunning(replay)
    return events / seconds
  } finally {
    replay?.stop()
    await bridge.stop()
    await replay?.end
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0)
}

function replayOf(from: string, servers: Servers): RunningCommand {
  return startCommand(servers, ['replay', '--from', from, '--source', 'wal', '--exchange', exchange])
}

function requireRunning(replay: RunningCommand): void {
  if (replay.isRunning()) return
  throw new Error('the replay was over before the live load was: expected more history, --history, or fewer --events')
}
