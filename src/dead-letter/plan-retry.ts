import { formatLsn, type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { type Selection, selectionSql } from './selection.ts'

/** What is known of a dead letter before it is taken. */
export interface Candidate {
  readonly id: string
  readonly commitLsn: Lsn
  readonly ordinal: number
  readonly bytes: number
  readonly aggregateKey: string | null
  /** Its aggregate is parked. */
  readonly held: boolean
  readonly selected: boolean
  /** It only waits behind another one. */
  readonly waits: boolean
}

export const batch_rows_max = 500
/** Candidates are small, and each page may cost a look at the whole table. */
const page_rows_max = 5000
export const batch_bytes_max = 8 * 1024 * 1024

const candidateSql = `letter.id::text AS id, letter.commit_lsn::text AS commit_lsn, letter.ordinal::text AS ordinal,
  coalesce(octet_length(letter.body), 0) AS bytes, letter.aggregate_key, letter.reason_code = 'EVENT_PARKED' AS waits`

/** The next page of the selection behind `after`, by position. */
export async function nextPage(
  client: PostgresClient,
  slot: string,
  selection: Selection,
  after: Candidate | undefined,
): Promise<Candidate[]> {
  const values: unknown[] = [slot, page_rows_max]
  const place = (value: unknown) => `$${values.push(value)}`
  const behind =
    after === undefined
      ? 'true'
      : `(letter.commit_lsn, letter.ordinal, letter.id) >
        (${place(formatLsn(after.commitLsn))}::pg_lsn, ${place(after.ordinal)}::bigint, ${place(after.id)}::bigint)`
  const { rows } = await client.query({
    text: `SELECT ${candidateSql}, true AS selected, EXISTS (SELECT FROM wal2rabbit.parked_aggregate AS parked
        WHERE parked.slot = letter.slot AND parked.aggregate_key = letter.aggregate_key) AS held
      FROM wal2rabbit.dead_letter AS letter
      WHERE letter.slot = $1 AND letter.state = 'parked' AND ${behind} AND ${selectionSql(selection, values)}
      ORDER BY letter.commit_lsn, letter.ordinal, letter.id LIMIT $2`,
    values,
  })
  return rows.map(parseCandidate)
}

/** How many dead letters of each of these aggregates are looked at together. */
export function heads_max(keys: readonly string[]): number {
  return Math.ceil(batch_rows_max / keys.length)
}

/**
 * The oldest dead letters of each of these parked aggregates, by position; all of them marked as to whether they are
 * `selected` (undefined: none is).
 */
export async function headsOfAggregates(
  client: PostgresClient,
  slot: string,
  keys: readonly string[],
  selection: Selection | undefined,
): Promise<Candidate[]> {
  const values: unknown[] = [slot, keys, heads_max(keys)]
  const selected = selection === undefined ? 'false' : selectionSql(selection, values)
  const { rows } = await client.query({
    text: `SELECT head.* FROM unnest($2::text[]) AS aggregate (key) CROSS JOIN LATERAL (
        SELECT ${candidateSql}, (${selected}) AS selected, true AS held FROM wal2rabbit.dead_letter AS letter
        WHERE letter.slot = $1 AND letter.aggregate_key = aggregate.key AND letter.state = 'parked'
        ORDER BY letter.commit_lsn, letter.ordinal, letter.id LIMIT $3) AS head
      ORDER BY head.commit_lsn::pg_lsn, head.ordinal::bigint, head.id::bigint`,
    values,
  })
  return rows.map(parseCandidate)
}

/** As many as one batch takes, from the first on: bounded, and no two at one position (they differ by replay). */
export function firstBatch(candidates: readonly Candidate[]): Candidate[] {
  const batch: Candidate[] = []
  let bytes = 0
  for (const candidate of candidates) {
    const last = batch.at(-1)
    bytes += candidate.bytes
    if (last !== undefined && (batch.length === batch_rows_max || bytes > batch_bytes_max)) break
    if (last?.commitLsn === candidate.commitLsn && last.ordinal === candidate.ordinal) break
    batch.push(candidate)
  }
  return batch
}

/**
 * What of the heads may go: of each aggregate its first dead letters, up to one that failed itself and is not selected.
 * What only waits goes as soon as nothing is in front of it.
 */
export function sendableHeads(heads: readonly Candidate[]): Candidate[] {
  const closed = new Set<string | null>()
  return heads.filter((head) => {
    if (!head.selected && !head.waits) closed.add(head.aggregateKey)
    return !closed.has(head.aggregateKey)
  })
}

/** The taken ones without those that follow one that could not be taken: nothing of an aggregate may overtake. */
export function withoutOvertaking<T extends { readonly id: string }>(
  batch: readonly Candidate[],
  taken: readonly T[],
): T[] {
  const found = new Map(taken.map((letter) => [letter.id, letter]))
  const closed = new Set<string>()
  return batch.flatMap(({ id, aggregateKey, held }) => {
    const letter = found.get(id)
    if (letter === undefined && held && aggregateKey !== null) closed.add(aggregateKey)
    return letter === undefined || (aggregateKey !== null && closed.has(aggregateKey)) ? [] : [letter]
  })
}

function parseCandidate(row: Record<string, unknown>): Candidate {
  return {
    id: String(row.id),
    commitLsn: parseLsn(String(row.commit_lsn)),
    ordinal: Number(row.ordinal),
    bytes: Number(row.bytes),
    aggregateKey: row.aggregate_key === null ? null : String(row.aggregate_key),
    held: row.held === true,
    selected: row.selected === true,
    waits: row.waits === true,
  }
}
