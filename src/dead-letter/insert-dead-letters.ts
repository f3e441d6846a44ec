import type { PostgresClient } from '../base/postgres-client.ts'
import { type DeadLetterValues, plainValues, type WrittenColumn, writtenColumns } from './dead-letter-values.ts'

const largeValue_length_min = 256 * 1024

const columnsSql = writtenColumns.join(', ')

const conflictSql = `ON CONFLICT (slot, commit_lsn, ordinal, event_key, (coalesce(replay_id, ''))) DO UPDATE
    SET reason_code = excluded.reason_code, reason_text = excluded.reason_text,
      attempts = greatest(kept.attempts, excluded.attempts), last_failed_at = clock_timestamp()
    WHERE kept.state = 'parked' AND excluded.reason_code <> 'EVENT_PARKED'`

/** How columns that are no texts are read from the document, and what they become. */
const types: Partial<Record<WrittenColumn, string>> = {
  commit_lsn: 'pg_lsn',
  ordinal: 'bigint',
  committed_at: 'timestamptz',
  body: 'bytea',
  attempts: 'bigint',
}

/** As texts in the document: PostgreSQL would refuse an escaped NUL or a lone surrogate inside of it. */
const jsonColumns: ReadonlySet<string> = new Set(['properties', 'row_columns', 'row_shape'])

const insertSql = `INSERT INTO wal2rabbit.dead_letter AS kept (slot, ${columnsSql})
  SELECT $1, ${writtenColumns.map((column) => (jsonColumns.has(column) ? `${column}::json` : column)).join(', ')}
  FROM json_to_recordset($2::json) AS row (${writtenColumns.map((column) => `${column} ${types[column] ?? 'text'}`).join(', ')})
  ${conflictSql}`

const insertLargeSql = `INSERT INTO wal2rabbit.dead_letter AS kept (slot, ${columnsSql})
  VALUES ($1, ${writtenColumns.map((_, n) => `$${n + 2}`).join(', ')})
  ${conflictSql}`

/**
 * Writes dead letters in this order, inside of the transaction that the connection is in. One that is there already is
 * brought up to date, unless it comes as parked only: then its own reason stays. One that PostgreSQL refuses for its
 * content is found by halving, and kept in a plainer form. Rejects with the driver's error for everything else.
 */
export async function insertDeadLetters(
  client: PostgresClient,
  slot: string,
  rows: readonly DeadLetterValues[],
): Promise<void> {
  if (rows.length === 0) return
  await client.query({ text: 'SAVEPOINT dead_letters' })
  try {
    for (const run of runsBySize(rows)) await client.query(insertStatement(slot, run))
    await client.query({ text: 'RELEASE SAVEPOINT dead_letters' })
  } catch (error) {
    if (!isAboutContent(error)) throw error
    await client.query({ text: 'ROLLBACK TO SAVEPOINT dead_letters' })
    await insertOneByOne(client, slot, rows, error)
  }
}

async function insertOneByOne(
  client: PostgresClient,
  slot: string,
  rows: readonly DeadLetterValues[],
  error: Error,
): Promise<void> {
  const [first, ...others] = rows
  if (first === undefined) return
  if (others.length === 0) {
    await client.query(insertStatement(slot, [plainValues(first, error.message)]))
    return
  }
  const middle = Math.ceil(rows.length / 2)
  await insertDeadLetters(client, slot, rows.slice(0, middle))
  await insertDeadLetters(client, slot, rows.slice(middle))
}

/** Many small ones go in one statement, as one document; a large one by itself, as parameters with its body in binary. */
function runsBySize(rows: readonly DeadLetterValues[]): DeadLetterValues[][] {
  const runs: DeadLetterValues[][] = []
  let small: DeadLetterValues[] | undefined
  for (const row of rows) {
    if (isLarge(row)) {
      small = undefined
      runs.push([row])
    } else if (small === undefined) {
      small = [row]
      runs.push(small)
    } else small.push(row)
  }
  return runs
}

function isLarge({ body, row_columns: columns, properties }: DeadLetterValues): boolean {
  return [body, columns, properties].some((value) => lengthOf(value) > largeValue_length_min)
}

function lengthOf(value: string | number | Buffer | null): number {
  return typeof value === 'string' || Buffer.isBuffer(value) ? value.length : 0
}

function insertStatement(slot: string, rows: readonly DeadLetterValues[]) {
  const [first] = rows
  if (first !== undefined && rows.length === 1 && isLarge(first)) {
    const values = [slot, ...writtenColumns.map((column) => first[column])]
    return { name: 'wal2rabbit_keep_large', text: insertLargeSql, values }
  }
  return { name: 'wal2rabbit_keep', text: insertSql, values: [slot, JSON.stringify(rows.map(document))] }
}

function document({ body, ...others }: DeadLetterValues): Record<string, string | number | Buffer | null> {
  return { ...others, body: Buffer.isBuffer(body) ? `\\x${body.toString('hex')}` : body }
}

/** SQLSTATE class 22, data exception, and 54, program limit exceeded. Source: PostgreSQL documentation, appendix A. */
function isAboutContent(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^(22|54)[0-9A-Z]{3}$/.test(String(error.code))
}
