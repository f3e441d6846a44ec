import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { SeededRandom } from './seeded-random.ts'

export interface LedgerRow {
  readonly id: string
  readonly aggregateId: string
  readonly type: string
  /** The payload as PostgreSQL prints it. */
  readonly payload: string
  readonly headers: Record<string, unknown>
}

/** What the writers know of their rows; the truth that deliveries are compared with. */
export interface Ledger {
  readonly committed: Map<string, LedgerRow>
  readonly rolledBack: Set<string>
  /** The connection broke during COMMIT: either outcome is right. */
  readonly unknown: Map<string, LedgerRow>
}

export interface WorkloadOptions {
  readonly url: string
  readonly connections: number
  readonly transactions: number
  readonly seed: number
  readonly table?: string
  /** Mean rows in a transaction, about. */
  readonly meanRows?: number
  /** Ends the writers early. */
  readonly signal?: AbortSignal
  /** Pause between transactions of one writer, milliseconds. */
  readonly pause?: number
}

export function emptyLedger(): Ledger {
  return { committed: new Map(), rolledBack: new Set(), unknown: new Map() }
}

/**
 * Writes transactions of mixed size from several connections at once: a tenth rolled back, some with savepoints rolled
 * back, some whose rows are deleted again before the commit. Survives a restart of the server: a writer whose
 * connection breaks connects anew and goes on.
 */
export async function runWorkload(options: WorkloadOptions, ledger: Ledger = emptyLedger()): Promise<Ledger> {
  let left = options.transactions
  const writers = Array.from({ length: options.connections }, async (_, writer) => {
    const random = new SeededRandom(options.seed * 1000 + writer)
    let client: pg.Client | undefined
    while (left > 0 && options.signal?.aborted !== true) {
      left--
      client ??= await connect(options.url, options.signal)
      if (client === undefined) break
      if (!(await writeTransaction(client, random, options, writer, ledger))) {
        await client.end().catch(() => undefined)
        client = undefined
      }
      if (options.pause !== undefined) await new Promise((resolve) => setTimeout(resolve, options.pause))
    }
    await client?.end()
  })
  await Promise.all(writers)
  return ledger
}

async function connect(url: string, signal: AbortSignal | undefined): Promise<pg.Client | undefined> {
  while (signal?.aborted !== true) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return undefined
}

/** False when the connection broke. */
async function writeTransaction(
  client: pg.Client,
  random: SeededRandom,
  options: WorkloadOptions,
  writer: number,
  ledger: Ledger,
): Promise<boolean> {
  const table = options.table ?? 'public.outbox'
  const kept: LedgerRow[] = []
  const dropped: LedgerRow[] = []
  let committing = false
  const insert = async (count: number) => {
    const ids = Array.from({ length: count }, () => randomUUID())
    const aggregateId = `${writer}-${random.between(1, 50)}`
    const types = ids.map(() => `Event${random.between(1, 5)}`)
    const payloads = ids.map((id) =>
      JSON.stringify({
        id,
        n: random.between(0, 1e6),
        text: 'x'.repeat(random.between(0, 200)),
        note: '€ 😀 "\\ \u2028',
      }),
    )
    const headers = ids.map((_, i) => (i % 4 === 0 ? { shop: 'a', n: i, nested: { flag: true } } : {}))
    const { rows } = await client.query(
      `INSERT INTO ${table} (id, aggregate_type, aggregate_id, type, payload, headers)
       SELECT i, 'order', $2, t, p, h FROM unnest($1::uuid[], $3::text[], $4::jsonb[], $5::jsonb[]) AS u (i, t, p, h)
       RETURNING id, type, payload::text AS payload`,
      [ids, aggregateId, types, payloads, headers.map((h) => JSON.stringify(h))],
    )
    return rows.map((row, i) => ({ ...row, aggregateId, headers: headers[i]! })) as LedgerRow[]
  }
  try {
    await client.query('BEGIN')
    const mean = options.meanRows ?? 10
    const target = random.chance(0.5) ? random.between(1, 3) : random.between(1, mean * 4 - 4)
    while (kept.length < target) {
      const rows = await insert(Math.min(random.between(1, 20), target - kept.length))
      kept.push(...rows)
      if (random.chance(0.05)) {
        await client.query('SAVEPOINT s')
        dropped.push(...(await insert(random.between(1, 5))))
        await client.query('ROLLBACK TO SAVEPOINT s')
      }
      if (random.chance(0.1)) {
        await client.query(`DELETE FROM ${table} WHERE id = ANY($1)`, [rows.map((row) => row.id)])
      }
    }
    if (random.chance(0.1)) {
      await client.query('ROLLBACK')
      dropped.push(...kept.splice(0))
    } else {
      committing = true
      await client.query('COMMIT')
    }
    for (const row of kept) ledger.committed.set(row.id, row)
    for (const row of dropped) ledger.rolledBack.add(row.id)
    return true
  } catch {
    for (const row of kept) {
      if (committing) ledger.unknown.set(row.id, row)
      else ledger.rolledBack.add(row.id)
    }
    for (const row of dropped) ledger.rolledBack.add(row.id)
    return false
  }
}
