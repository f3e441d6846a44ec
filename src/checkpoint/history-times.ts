import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { isOfLineageSql, type Lineage, valuesOf } from './history-snapshots.ts'

/**
 * How much older or younger than a time an entry must be to count as before or behind it: the time of a commit is taken
 * a little before its record is written, and an entry is dated a little after its WAL end was read.
 */
const slack_ms = 1000

/**
 * Between two entries of which the later has the earlier time, a clock was set back, and nobody knows when: what committed
 * there may be younger than the one by so much, or older than the other.
 */
const stepMargin_ms = 60_000

/**
 * Entries in the order of the WAL, never by their times: a clock that was set back, or that of another server after a
 * promotion, dates what comes later in the WAL before what comes earlier. `latest`: no commit since the entry before is
 * younger; `earliest`: none up to the next entry is older. All kinds count, that of a rewind too: it moves the stored LSN,
 * not the WAL end.
 */
const usableSql = `WITH asked AS (SELECT $6::timestamptz AS time,
    $7 * interval '1 millisecond' AS slack, $8 * interval '1 millisecond' AS step_margin),
  dated AS (
    SELECT h.snapshot_wal_end AS wal_end, h.stored_at, lag(h.stored_at) OVER in_wal AS before, lead(h.stored_at) OVER in_wal AS behind
    FROM wal2rabbit.checkpoint_history h WHERE h.slot = $1 AND ${isOfLineageSql}
    WINDOW in_wal AS (ORDER BY h.snapshot_wal_end, h.id)),
  usable AS (
    SELECT wal_end, time, slack,
      CASE WHEN before > stored_at + slack THEN before + step_margin ELSE stored_at END AS latest,
      CASE WHEN behind < stored_at - slack THEN behind - step_margin ELSE stored_at END AS earliest
    FROM dated, asked)`

/**
 * All that committed at `time` or later lies at this LSN or above: the WAL end of the last entry that comes before every
 * younger one. Undefined when the history begins later. `time`: ISO 8601. A step of the clock that no two entries show is
 * not known here. Errors are those of the client.
 */
export function findWalEndBefore(
  client: PostgresClient,
  slot: string,
  time: string,
  server: Lineage,
): Promise<Lsn | undefined> {
  const text = `${usableSql} SELECT max(wal_end)::text AS lsn FROM usable
    WHERE wal_end < coalesce((SELECT min(wal_end) FROM usable WHERE latest > time - slack), 'FFFFFFFF/FFFFFFFF')`
  return findWalEnd(client, text, slot, time, server)
}

/**
 * All that committed before `time` lies below this LSN: the WAL end of the first entry that comes behind every older one.
 * Undefined when there is none yet. Otherwise as findWalEndBefore().
 */
export function findWalEndBehind(
  client: PostgresClient,
  slot: string,
  time: string,
  server: Lineage,
): Promise<Lsn | undefined> {
  const text = `${usableSql} SELECT min(wal_end)::text AS lsn FROM usable
    WHERE wal_end > coalesce((SELECT max(wal_end) FROM usable WHERE earliest < time + slack), '0/0')`
  return findWalEnd(client, text, slot, time, server)
}

async function findWalEnd(
  client: PostgresClient,
  text: string,
  slot: string,
  time: string,
  server: Lineage,
): Promise<Lsn | undefined> {
  const { rows } = await client.query({ text, values: [...valuesOf(slot, server), time, slack_ms, stepMargin_ms] })
  const lsn = rows[0]?.lsn
  return lsn === null || lsn === undefined ? undefined : parseLsn(String(lsn))
}
