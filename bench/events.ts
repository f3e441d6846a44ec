import type pg from 'pg'

/** Bodies repeat after this many events, so that neither side is charged for making them up. */
export const poolSize = 1000

/** Rows in each transaction of a backlog. */
export const transactionRows = 10

/** What one event and its message have in common, whichever side publishes it. */
export interface PoolEvent {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly type: string
  /** The payload as PostgreSQL prints jsonb. */
  readonly body: string
}

export const eventPool: readonly PoolEvent[] = Array.from({ length: poolSize }, (_, n) => ({
  aggregateType: 'order',
  aggregateId: `order-${n}`,
  type: 'OrderPlaced',
  body: jsonbText({
    order_id: `order-${n}`,
    customer: `customer-${(n * 7919) % 100_000}`,
    currency: 'EUR',
    total: 1000 + n,
    placed_at: '2026-01-31T23:59:59.123456Z',
    note: 'Ring twice, the bell is quiet; leave it with the neighbour otherwise',
    items: `${n % 9} x kettle, ${n % 4} x teapot, ${n % 13} x cup, 1 x tea strainer, 2 x biscuit tin`,
  }),
}))

/** Keys by length, then by bytes, and a space after each colon and comma: as jsonb is printed. For flat ASCII only. */
function jsonbText(fields: Readonly<Record<string, string | number>>): string {
  const sorted = Object.entries(fields).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1))
  return `{${sorted.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(', ')}}`
}

/** Puts the pool beside the outbox. Throws when the server prints a body otherwise than the plain publisher sends it. */
export async function createPool(client: pg.Client): Promise<void> {
  await client.query('CREATE TABLE bench_pool (n integer PRIMARY KEY, aggregate_id text, payload jsonb)')
  const { rows } = await client.query<{ n: number; body: string }>(
    `INSERT INTO bench_pool SELECT * FROM unnest($1::integer[], $2::text[], $3::jsonb[])
     RETURNING n, payload::text AS body`,
    [eventPool.map((_, n) => n), eventPool.map((event) => event.aggregateId), eventPool.map((event) => event.body)],
  )
  const other = rows.find((row) => row.body !== eventPool[row.n]!.body)
  if (other !== undefined) {
    throw new Error(`PostgreSQL prints body ${other.n} as ${other.body}; expected ${eventPool[other.n]!.body}`)
  }
}

/** Inserts rows `first` to `last` of the sequence of events, as SQL for PL/pgSQL and plain statements alike. */
function insertRows(first: string, last: string): string {
  return `INSERT INTO public.outbox (id, aggregate_type, aggregate_id, type, payload)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(e), 12, '0'))::uuid, 'order', p.aggregate_id, 'OrderPlaced', p.payload
    FROM generate_series(${first}, ${last}) AS e JOIN bench_pool p ON p.n = e % ${poolSize} ORDER BY e`
}

/** As many rows again, of a type that the exchange has no queue for, one between each two of the others. */
function insertFloodedRows(first: string, last: string): string {
  return `INSERT INTO public.outbox (aggregate_type, aggregate_id, type, payload)
    SELECT CASE dead WHEN 0 THEN 'order' ELSE 'lost' END, p.aggregate_id, 'OrderPlaced', p.payload
    FROM generate_series(${first}, ${last}) AS e JOIN bench_pool p ON p.n = e % ${poolSize}
    CROSS JOIN generate_series(0, 1) AS dead ORDER BY e, dead`
}

function insertMark(type: string): string {
  return `INSERT INTO public.outbox (aggregate_type, aggregate_id, type) VALUES ('bench', 'mark', '${type}')`
}

/** Events that a backlog has beside those asked for: the marks before and after them. */
export const markEvents = 2

/**
 * Fills the outbox: a mark `bench.first`, the events in transactions of ten rows or in a single one, a mark
 * `bench.last`. The marks are routed to a queue of their own and tell when the backlog begins and ends.
 */
export function fillBacklog(client: pg.Client, events: number, transactions: 'small' | 'single'): Promise<void> {
  return transactions === 'single'
    ? fill(client, insertRows('0', String(events - 1)))
    : fill(client, inTransactions(events, insertRows))
}

/** As a backlog of small transactions, with as many events to a dead route among them. */
export function fillFlood(client: pg.Client, events: number): Promise<void> {
  return fill(client, inTransactions(events, insertFloodedRows))
}

function inTransactions(events: number, insert: (first: string, last: string) => string): string {
  return `DO $$ BEGIN
      FOR start IN 0..${events - 1} BY ${transactionRows} LOOP
        ${insert('start', `least(start + ${transactionRows - 1}, ${events - 1})`)};
        COMMIT;
      END LOOP;
    END $$`
}

async function fill(client: pg.Client, insertEvents: string): Promise<void> {
  await client.query('TRUNCATE public.outbox')
  await client.query('SET synchronous_commit = off')
  await client.query(insertMark('first'))
  await client.query(insertEvents)
  await client.query(insertMark('last'))
  // What the fill left to be written would otherwise be written while the other side is measured.
  await client.query('CHECKPOINT')
}
