import type { PostgresClient } from '../base/postgres-client.ts'

/** An aggregate of `wal2rabbit.parked_aggregate`, see sql/002_dead_letters.sql. */
export interface ParkedAggregate {
  readonly key: string
  readonly aggregateType: string
  readonly aggregateId: string
  /** The event that its later ones wait for. */
  readonly behindEventId: string
}

const aggregateColumnsSql = 'aggregate_key, aggregate_type, aggregate_id, behind_event_id'

/** Up to `limit` parked aggregates of the slot. */
export async function loadParked(client: PostgresClient, slot: string, limit: number): Promise<ParkedAggregate[]> {
  const { rows } = await client.query({
    text: `SELECT ${aggregateColumnsSql} FROM wal2rabbit.parked_aggregate WHERE slot = $1 LIMIT $2`,
    values: [slot, limit],
  })
  return rows.map(parseParked)
}

/** Which of these are parked, locked against release until the transaction ends; always in the same order. */
export async function lockParked(
  client: PostgresClient,
  slot: string,
  keys: readonly string[],
): Promise<Map<string, ParkedAggregate>> {
  if (keys.length === 0) return new Map()
  const { rows } = await client.query({
    name: 'wal2rabbit_lock_parked',
    text: `SELECT ${aggregateColumnsSql} FROM wal2rabbit.parked_aggregate
      WHERE slot = $1 AND aggregate_key = ANY($2) ORDER BY aggregate_key FOR KEY SHARE`,
    values: [slot, keys],
  })
  return new Map(rows.map(parseParked).map((parked) => [parked.key, parked]))
}

/**
 * Parks the aggregates, inside of a transaction; each at most once. DO UPDATE and not DO NOTHING: it waits for a release
 * that is under way and then parks anew, where the other would rely on a row that is about to go.
 */
export async function park(
  client: PostgresClient,
  slot: string,
  aggregates: readonly ParkedAggregate[],
): Promise<void> {
  if (aggregates.length === 0) return
  await client.query({
    name: 'wal2rabbit_park',
    text: `INSERT INTO wal2rabbit.parked_aggregate AS parked (slot, ${aggregateColumnsSql})
      SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS new (key, type, id, event) ORDER BY key
      ON CONFLICT (slot, aggregate_key) DO UPDATE SET parked_at = parked.parked_at`,
    values: [
      slot,
      aggregates.map(({ key }) => key),
      aggregates.map(({ aggregateType }) => aggregateType),
      aggregates.map(({ aggregateId }) => aggregateId),
      aggregates.map(({ behindEventId }) => behindEventId),
    ],
  })
}

/**
 * Releases those of the aggregates (of all, when undefined) that have no dead letter left; returns their keys. Inside of
 * a transaction: two looks, the second with the rows locked, as an event may have been parked in between.
 */
export async function releaseParked(
  client: PostgresClient,
  slot: string,
  keys: readonly string[] | undefined,
): Promise<string[]> {
  const found = await client.query({
    text: `SELECT aggregate_key FROM wal2rabbit.parked_aggregate AS parked
      WHERE slot = $1 AND ($2::text[] IS NULL OR aggregate_key = ANY($2)) AND ${withoutDeadLettersSql}
      ORDER BY aggregate_key FOR UPDATE`,
    values: [slot, keys ?? null],
  })
  const candidates = found.rows.map((row) => String(row.aggregate_key))
  if (candidates.length === 0) return []
  const gone = await client.query({
    text: `DELETE FROM wal2rabbit.parked_aggregate AS parked
      WHERE slot = $1 AND aggregate_key = ANY($2) AND ${withoutDeadLettersSql} RETURNING aggregate_key`,
    values: [slot, candidates],
  })
  return gone.rows.map((row) => String(row.aggregate_key))
}

/** Stops the bridge from parking more events of these aggregates until the transaction ends. */
export async function holdParked(client: PostgresClient, slot: string, keys: readonly string[]): Promise<void> {
  await client.query({
    text: `SELECT FROM wal2rabbit.parked_aggregate
      WHERE slot = $1 AND aggregate_key = ANY($2) ORDER BY aggregate_key FOR UPDATE`,
    values: [slot, keys],
  })
}

/** Names another event as the one that the aggregate waits for. */
export async function renameParked(client: PostgresClient, slot: string, key: string, eventId: string): Promise<void> {
  await client.query({
    text: 'UPDATE wal2rabbit.parked_aggregate SET behind_event_id = $3 WHERE slot = $1 AND aggregate_key = $2',
    values: [slot, key, eventId],
  })
}

const withoutDeadLettersSql = `NOT EXISTS (SELECT FROM wal2rabbit.dead_letter AS letter
  WHERE letter.slot = parked.slot AND letter.aggregate_key = parked.aggregate_key AND letter.state = 'parked')`

function parseParked(row: Record<string, unknown>): ParkedAggregate {
  return {
    key: String(row.aggregate_key),
    aggregateType: String(row.aggregate_type),
    aggregateId: String(row.aggregate_id),
    behindEventId: String(row.behind_event_id),
  }
}
