import type { PostgresClient } from '../base/postgres-client.ts'
import {
  type DeadLetter,
  deadLetterColumnsSql,
  deadLettersSql,
  parseDeadLetter,
  parseWhole,
  type WholeDeadLetter,
  wholeColumnsSql,
} from './dead-letter.ts'
import { eventKey } from './keys.ts'
import { type Selection, selectionSql } from './selection.ts'

/** The newest `limit` of the selection, newest last. */
export async function listDeadLetters(
  client: PostgresClient,
  slot: string,
  selection: Selection,
  limit: number,
): Promise<DeadLetter[]> {
  const values: unknown[] = [slot, limit]
  const { rows } = await client.query({
    text: `SELECT ${deadLetterColumnsSql} FROM ${deadLettersSql}
      WHERE letter.slot = $1 AND letter.state = 'parked' AND ${selectionSql(selection, values)}
      ORDER BY letter.commit_lsn DESC, letter.ordinal DESC, letter.id DESC LIMIT $2`,
    values,
  })
  return rows.map(parseDeadLetter).reverse()
}

export async function countDeadLetters(client: PostgresClient, slot: string, selection: Selection): Promise<number> {
  const values: unknown[] = [slot]
  const { rows } = await client.query({
    text: `SELECT count(*) AS count FROM wal2rabbit.dead_letter AS letter
      WHERE letter.slot = $1 AND letter.state = 'parked' AND ${selectionSql(selection, values)}`,
    values,
  })
  return Number(rows[0]?.count)
}

/** How many dead letters a slot has, and how many aggregates wait behind one: for a gauge, up to 100,000 each. */
export async function countParked(
  client: PostgresClient,
  slot: string,
): Promise<{ readonly deadLetters: number; readonly aggregates: number }> {
  const { rows } = await client.query({
    name: 'wal2rabbit_count_parked',
    text: `SELECT
      (SELECT count(*) FROM (SELECT FROM wal2rabbit.dead_letter
        WHERE slot = $1 AND state = 'parked' LIMIT 100000) AS letter) AS dead_letters,
      (SELECT count(*) FROM (SELECT FROM wal2rabbit.parked_aggregate
        WHERE slot = $1 LIMIT 100000) AS parked) AS aggregates`,
    values: [slot],
  })
  return { deadLetters: Number(rows[0]?.dead_letters), aggregates: Number(rows[0]?.aggregates) }
}

/** Which of these event ids no dead letter of the slot has. */
export async function missingEvents(
  client: PostgresClient,
  slot: string,
  eventIds: readonly string[],
): Promise<string[]> {
  const { rows } = await client.query({
    text: `SELECT DISTINCT event_key FROM wal2rabbit.dead_letter
      WHERE slot = $1 AND state = 'parked' AND event_key = ANY($2)`,
    values: [slot, eventIds.map(eventKey)],
  })
  const found = new Set(rows.map((row) => row.event_key))
  return eventIds.filter((id) => !found.has(eventKey(id)))
}

/** One event whole; several where an event id was used again or replayed. */
export async function readDeadLetters(
  client: PostgresClient,
  slot: string,
  eventId: string,
): Promise<WholeDeadLetter[]> {
  const { rows } = await client.query({
    text: `SELECT ${deadLetterColumnsSql}, ${wholeColumnsSql} FROM ${deadLettersSql}
      WHERE letter.slot = $1 AND letter.state = 'parked' AND letter.event_key = $2
      ORDER BY letter.commit_lsn, letter.ordinal, letter.id`,
    values: [slot, eventKey(eventId)],
  })
  return rows.map(parseWhole)
}
