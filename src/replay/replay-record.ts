import { formatLsn, type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { StartPosition } from '../source/source.ts'
import type { FilterTerm } from './event-filter.ts'
import type { ReplayRange } from './range.ts'

export type ReplaySource = 'wal' | 'table'
export type ReplayState = 'running' | 'done' | 'stopped' | 'failed' | 'abandoned'

/** What was asked for, as it was written on the command line. */
export interface ReplayRequest {
  readonly from: string
  readonly to?: string | undefined
  readonly where: readonly FilterTerm[]
  readonly exchange?: string | undefined
  readonly routingKey?: string | undefined
  readonly queue?: string | undefined
  /** Events a second. */
  readonly rate?: number | undefined
  /** Backfill: how many rows were to come, at least. */
  readonly rows?: number | undefined
}

/** What a request came to, once and for all: a replay that is resumed keeps it. */
export interface ReplayPlan {
  readonly source: ReplaySource
  readonly range: ReplayRange
  /** Table: rows that the first does not see and the second sees; `pg_snapshot` as text. */
  readonly fromSnapshot: string | undefined
  readonly toSnapshot: string | undefined
  readonly systemIdentifier: string
  readonly timeline: number
}

/** How far a replay has come. */
export interface ReplayProgress {
  readonly settled: StartPosition
  /** Table: the sort key of the last settled row. */
  readonly tableKey: string | undefined
  readonly read: number
  readonly matched: number
  readonly published: number
  readonly dead: number
  readonly dropped: number
}

/** A row of `wal2rabbit.replay`. Source: sql/003_replay.sql. */
export interface ReplayRecord {
  readonly id: string
  readonly slot: string
  readonly kind: 'replay' | 'backfill'
  /** `running` also after a crash: whether somebody runs it, its lock tells (replay-ledger.ts). */
  readonly state: ReplayState
  readonly startedBy: string
  readonly role: string
  /** ISO 8601 with microseconds in UTC, as all times here. */
  readonly startedAt: string
  readonly updatedAt: string
  readonly finishedAt: string | null
  readonly request: ReplayRequest
  readonly plan: ReplayPlan
  readonly progress: ReplayProgress
  readonly errorCode: string | null
  readonly errorText: string | null
  /** Whether a process holds its lock. */
  readonly locked: boolean
}

/** The key of the advisory lock that the process of a replay holds for as long as it runs. */
export const lockKeySql = (id: string) => `hashtextextended('wal2rabbit replay ' || ${id}, 0)`

function isoSql(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ${column}`
}

const timeColumns = ['started_at', 'updated_at', 'finished_at', 'committed_from', 'committed_to']
const textColumns = [
  ...['from_lsn', 'from_rows', 'to_lsn', 'to_rows', 'from_snapshot', 'to_snapshot', 'timeline', 'lsn'],
  ...[
    'partial_commit_lsn',
    'partial_rows',
    'rows_read',
    'rows_matched',
    'events_published',
    'events_dead',
    'events_dropped',
  ],
]

/** A bigint key shows in pg_locks as its two halves. */
const recordSql = `SELECT id, slot, kind, source, state, started_by, role, request, system_identifier, table_key, error_code,
    error_text, ${timeColumns.map(isoSql).join(', ')}, ${textColumns.map((name) => `${name}::text`).join(', ')},
    EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32 | l.objid::bigint) = ${lockKeySql('id')}) AS locked
  FROM wal2rabbit.replay`

/** Undefined when there is none of that id. Errors are those of the client. */
export async function readReplay(client: PostgresClient, slot: string, id: string): Promise<ReplayRecord | undefined> {
  const { rows } = await client.query({ text: `${recordSql} WHERE slot = $1 AND id = $2`, values: [slot, id] })
  return rows[0] === undefined ? undefined : parseRecord(rows[0])
}

/** The newest `limit` of a slot, newest first. */
export async function listReplays(client: PostgresClient, slot: string, limit: number): Promise<ReplayRecord[]> {
  const text = `${recordSql} WHERE slot = $1 ORDER BY started_at DESC, id DESC LIMIT $2`
  const { rows } = await client.query({ text, values: [slot, limit] })
  return rows.map(parseRecord)
}

export async function insertReplay(
  client: PostgresClient,
  record: Pick<ReplayRecord, 'id' | 'slot' | 'kind' | 'startedBy' | 'request' | 'plan'>,
  start: StartPosition,
): Promise<void> {
  const { id, slot, kind, startedBy, request, plan } = record
  const { from, to, committedFrom, committedBefore } = plan.range
  const columns: Record<string, unknown> = {
    ...{ id, slot, kind, source: plan.source, started_by: startedBy, request: JSON.stringify(request) },
    ...{ from_lsn: formatLsn(from.lsn), from_rows: from.rows, to_lsn: formatLsn(to.lsn), to_rows: to.rows },
    ...{ committed_from: committedFrom ?? null, committed_to: committedBefore ?? null },
    ...{ from_snapshot: plan.fromSnapshot ?? null, to_snapshot: plan.toSnapshot ?? null },
    ...{ system_identifier: plan.systemIdentifier, timeline: plan.timeline, ...positionColumns(start) },
  }
  const names = Object.keys(columns)
  const places = names.map((_, n) => `$${n + 1}`).join(', ')
  await client.query({
    text: `INSERT INTO wal2rabbit.replay (${names.join(', ')}) VALUES (${places})`,
    values: Object.values(columns),
  })
}

/** Stores the progress; false when the replay is no longer running, as another process has ended it. */
export async function updateReplay(client: PostgresClient, id: string, progress: ReplayProgress): Promise<boolean> {
  const { rowCount } = await updateRow(client, id, progressColumns(progress), `state = 'running'`)
  return rowCount === 1
}

/** The end of it, unless it has one already, or a new beginning with state `running`. */
export async function setReplayState(
  client: PostgresClient,
  id: string,
  state: ReplayState,
  error?: { readonly code: string; readonly message: string },
): Promise<void> {
  const columns = { state, error_code: error?.code ?? null, error_text: error?.message ?? null }
  const finished = state === 'running' ? 'NULL' : 'clock_timestamp()'
  const condition = state === 'running' ? 'true' : `state = 'running'`
  await updateRow(client, id, columns, condition, `, finished_at = ${finished}`)
}

function updateRow(
  client: PostgresClient,
  id: string,
  columns: Record<string, unknown>,
  condition: string,
  more = '',
): Promise<{ readonly rowCount: number | null }> {
  const sets = Object.keys(columns).map((name, n) => `${name} = $${n + 2}`)
  return client.query({
    text: `UPDATE wal2rabbit.replay SET ${sets.join(', ')}, updated_at = clock_timestamp()${more}
      WHERE id = $1 AND ${condition}`,
    values: [id, ...Object.values(columns)],
  })
}

function progressColumns(progress: ReplayProgress): Record<string, unknown> {
  const { settled, tableKey, read, matched, published, dead, dropped } = progress
  return {
    ...positionColumns(settled),
    ...{ table_key: tableKey ?? null, rows_read: read, rows_matched: matched },
    ...{ events_published: published, events_dead: dead, events_dropped: dropped },
  }
}

function positionColumns({ lsn, partial }: StartPosition): Record<string, unknown> {
  const commitLsn = partial === null ? null : formatLsn(partial.commitLsn)
  return { lsn: formatLsn(lsn), partial_commit_lsn: commitLsn, partial_rows: partial?.rows ?? null }
}

function parseRecord(row: Record<string, unknown>): ReplayRecord {
  const text = (name: string) => (row[name] === null ? undefined : String(row[name]))
  const lsn = (name: string): Lsn => parseLsn(String(row[name]))
  const partialLsn = text('partial_commit_lsn')
  return {
    id: String(row.id),
    slot: String(row.slot),
    kind: String(row.kind) as ReplayRecord['kind'],
    state: String(row.state) as ReplayState,
    startedBy: String(row.started_by),
    role: String(row.role),
    startedAt: String(row.started_at),
    updatedAt: String(row.updated_at),
    finishedAt: text('finished_at') ?? null,
    request: row.request as ReplayRequest,
    plan: {
      source: String(row.source) as ReplaySource,
      range: {
        from: { lsn: lsn('from_lsn'), rows: Number(row.from_rows) },
        to: { lsn: lsn('to_lsn'), rows: Number(row.to_rows) },
        committedFrom: text('committed_from'),
        committedBefore: text('committed_to'),
      },
      fromSnapshot: text('from_snapshot'),
      toSnapshot: text('to_snapshot'),
      systemIdentifier: String(row.system_identifier),
      timeline: Number(row.timeline),
    },
    progress: {
      settled: {
        lsn: lsn('lsn'),
        partial: partialLsn === undefined ? null : { commitLsn: parseLsn(partialLsn), rows: Number(row.partial_rows) },
      },
      tableKey: text('table_key'),
      read: Number(row.rows_read),
      matched: Number(row.rows_matched),
      published: Number(row.events_published),
      dead: Number(row.events_dead),
      dropped: Number(row.events_dropped),
    },
    errorCode: text('error_code') ?? null,
    errorText: text('error_text') ?? null,
    locked: row.locked === true,
  }
}
