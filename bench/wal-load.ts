import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { SeededRandom } from '../test/support/seeded-random.ts'

/** Bytes of WAL a second that a phase aims at; the last is as fast as one connection goes. */
const rates = [0, 1_000_000, 5_000_000, 20_000_000, Number.POSITIVE_INFINITY] as const
const phase_ms = 5000
/** Rows of a transaction, about a megabyte of WAL together, and the events beside them. */
const fillerRows = 520
const events = 10
/** Transactions after which the filler is emptied. */
const kept = 200

export interface WalLoad {
  readonly events: number
  readonly walBytes: number
}

/** Writes other tables and the outbox in phases of random speed, until `signal`. Heavy ones are as likely as all others. */
export async function writeWal(url: string, signal: AbortSignal, seed: number): Promise<WalLoad> {
  const random = new SeededRandom(seed)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('CREATE TABLE IF NOT EXISTS bench_filler (t text)')
    await client.query('SET synchronous_commit = off')
    const walEnd = async () => BigInt(String((await client.query(walEndSql)).rows[0].bytes))
    const start = await walEnd()
    let written = 0
    while (!signal.aborted) {
      const rate = random.chance(0.5) ? rates.at(-1)! : rates[random.between(0, rates.length - 2)]!
      const until = performance.now() + phase_ms
      while (!signal.aborted && performance.now() < until) {
        if (rate > 0) {
          await client.query(`BEGIN; ${fillSql}; ${outboxSql}; COMMIT`)
          written++
          if (written % kept === 0) await client.query('TRUNCATE bench_filler; TRUNCATE public.outbox')
        }
        const pause = Math.min(rate > 0 ? 1_000_000 / rate : 1, 0.5) * 1000
        if (pause > 0) await delay(pause)
      }
    }
    return { events: written * events, walBytes: Number((await walEnd()) - start) }
  } finally {
    await client.end()
  }
}

const walEndSql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text AS bytes"
const fillSql = `INSERT INTO bench_filler SELECT repeat(md5(n::text), 58) FROM generate_series(1, ${fillerRows}) n`
const outboxSql = `INSERT INTO public.outbox (aggregate_type, aggregate_id, type, payload)
  SELECT 'order', p.aggregate_id, 'OrderPlaced', p.payload FROM bench_pool p WHERE p.n < ${events}`
