import type { PostgresClient } from '../base/postgres-client.ts'
import type { Refusal } from '../sink/sink.ts'
import {
  type DeadLetter,
  deadLetterColumnsSql,
  deadLettersSql,
  parseDeadLetter,
  parseWhole,
  type WholeDeadLetter,
  wholeColumnsSql,
} from './dead-letter.ts'

/** Takes these dead letters for the transaction, by position; those that somebody else has taken are left out. */
export async function takeDeadLetters(client: PostgresClient, ids: readonly string[]): Promise<WholeDeadLetter[]> {
  const { rows } = await client.query({
    text: `SELECT ${deadLetterColumnsSql}, ${wholeColumnsSql} FROM ${deadLettersSql}
      WHERE letter.id = ANY($1::bigint[]) AND letter.state = 'parked'
      ORDER BY letter.commit_lsn, letter.ordinal, letter.id FOR UPDATE OF letter SKIP LOCKED`,
    values: [ids],
  })
  return rows.map(parseWhole)
}

/** The same without their content, for the discarding. */
export async function takeForDiscard(client: PostgresClient, ids: readonly string[]): Promise<DeadLetter[]> {
  const { rows } = await client.query({
    text: `SELECT ${deadLetterColumnsSql} FROM ${deadLettersSql}
      WHERE letter.id = ANY($1::bigint[]) AND letter.state = 'parked'
      ORDER BY letter.commit_lsn, letter.ordinal, letter.id FOR UPDATE OF letter SKIP LOCKED`,
    values: [ids],
  })
  return rows.map(parseDeadLetter)
}

const auditedColumnsSql = `slot, commit_lsn, ordinal, event_id, aggregate_type, aggregate_id, type, reason_code, reason_text,
  attempts, first_failed_at, replay_id`

/** Removes dead letters and says so in the audit: one statement, so never one without the other. */
export async function removeDeadLetters(
  client: PostgresClient,
  ids: readonly string[],
  action: 'delivered' | 'discarded',
  doneBy: string,
): Promise<void> {
  if (ids.length === 0) return
  await client.query({
    text: `WITH gone AS (DELETE FROM wal2rabbit.dead_letter WHERE id = ANY($1::bigint[]) RETURNING ${auditedColumnsSql})
      INSERT INTO wal2rabbit.dead_letter_audit (done_by, action, ${auditedColumnsSql})
      SELECT $2, $3, ${auditedColumnsSql} FROM gone ORDER BY commit_lsn, ordinal`,
    values: [ids, doneBy, action],
  })
}

/** It failed again: `attempts` more times, for this reason. */
export async function noteFailure(
  client: PostgresClient,
  id: string,
  refusal: Refusal,
  attempts: number,
): Promise<void> {
  await client.query({
    name: 'wal2rabbit_failed_again',
    text: `UPDATE wal2rabbit.dead_letter SET reason_code = $2, reason_text = $3, attempts = attempts + $4,
      last_failed_at = clock_timestamp() WHERE id = $1`,
    values: [id, refusal.code, refusal.text.replaceAll('\0', '\ufffd'), attempts],
  })
}
