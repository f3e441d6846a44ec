import { inTransaction, type PassStage, pause } from './pass-stage.ts'
import { goneBySql, limitValues, momentSql } from './row-conditions.ts'

/** A partition that lies wholly before the cutoff. */
export interface OldPartition {
  readonly oid: string
  /** schema.partition, quoted where needed. */
  readonly name: string
  /** This role may drop it. */
  readonly droppable: boolean
}

/** A waiting ACCESS EXCLUSIVE lock lets nobody insert, so it is waited for only so long; milliseconds. */
const lockTimeout = { partition: 2000, drop: 100 }
/** While the partition is locked, who writes to it, or through the root without saying where, waits; milliseconds. */
const lockedTimeout = { look: 3000, other: 500 }

/**
 * Partitions whose range ends at or before the cutoff, oldest first. Those with a range of MAXVALUE, the default
 * partition and partitions that have partitions themselves are left to be deleted row by row.
 */
export async function findOldPartitions(stage: PassStage): Promise<OldPartition[]> {
  const { client, facts, limits } = stage
  if (!facts.partitionedByTime) return []
  const { rows } = await client.query({
    text: `WITH part AS (
        SELECT c.oid, c.relnamespace, c.relname, c.relowner,
          substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$ TO \\('([^']*)'\\)$$re$) AS upper
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::oid AND c.relkind = 'r' AND NOT i.inhdetachpending)
      SELECT p.oid::text AS oid, format('%I.%I', n.nspname, p.relname) AS name,
        pg_has_role(p.relowner, 'USAGE') AS droppable
      FROM part p JOIN pg_namespace n ON n.oid = p.relnamespace
      WHERE p.upper IS NOT NULL AND p.upper::${facts.createdAt!.type} <= ${momentSql(facts, '$2')}
      ORDER BY p.upper::${facts.createdAt!.type}`,
    values: [facts.oid, limits.cutoff],
  })
  return rows.map((row) => ({
    oid: String(row.oid),
    name: String(row.name),
    droppable: row.droppable === true,
  }))
}

/** Drops the partitions of which every row may go, or only finds them in a dry run; `onGone` is called with each. */
export async function dropPartitions(
  stage: PassStage,
  partitions: readonly OldPartition[],
  onGone: (partition: OldPartition) => void,
): Promise<void> {
  const { signal, dryRun } = stage
  for (const partition of partitions) {
    if (signal.aborted || !partition.droppable) continue
    const looked = await passBy(stage, partition, () => lookInto(stage, partition))
    if (looked?.mayGo === true && (dryRun || (await drop(stage, partition, looked)))) onGone(partition)
  }
}

/** False when it has to stay after all, somebody holds it, or it cannot be dropped. */
async function drop(stage: PassStage, partition: OldPartition, looked: Look): Promise<boolean> {
  await stage.guard.beforeFirst()
  const gone = await passBy(stage, partition, async () => {
    const result = await dropIfUnchanged(stage, partition, looked)
    stage.locks.passed()
    return result
  })
  return gone === true
}

/** Undefined where a lock or the partition itself is in the way, which ends no pass. */
async function passBy<T>(stage: PassStage, { name }: OldPartition, work: () => Promise<T>): Promise<T | undefined> {
  const { locks, signal } = stage
  try {
    return await work()
  } catch (error) {
    const why = refusalOf(error)
    if (why === undefined) await pause(locks.met(error), signal)
    else stage.notice(`partition ${name} cannot be dropped, so its rows are deleted one by one: ${why}`)
    return undefined
  }
}

/** Why this partition cannot be dropped; undefined where it is locked, or where something else is wrong. */
function refusalOf(error: unknown): string | undefined {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  if (code === '57014') return 'a look at it took longer than it may'
  // Something depends on it, it is in use, its owner changed, a trigger objects. A lock timeout is 55P03.
  return /^(2B|42|55006|P0)/.test(String(code)) ? String(message) : undefined
}

/**
 * Once the lock is had nobody has an uncommitted row in there, and nobody can add one; so the second look counts. It is for
 * rows that the first may not have seen.
 */
function dropIfUnchanged(stage: PassStage, partition: OldPartition, looked: Look): Promise<true | undefined> {
  const { client, guard } = stage
  return inTransaction(client, async () => {
    await client.query({ text: `SET LOCAL lock_timeout = ${lockTimeout.partition}` })
    await client.query({ text: `LOCK TABLE ${partition.name} IN SHARE ROW EXCLUSIVE MODE` })
    await client.query({ text: `SET LOCAL statement_timeout = ${lockedTimeout.look}` })
    if (!(await isUnchanged(stage, partition, looked))) return undefined
    await client.query({ text: `SET LOCAL statement_timeout = ${lockedTimeout.other}` })
    await guard.beforePartition()
    await client.query({ text: `SET LOCAL lock_timeout = ${lockTimeout.drop}` })
    await client.query({ text: `DROP TABLE ${partition.name}` })
    return true
  })
}

interface Look {
  /** Every row of it is old and settled. */
  readonly mayGo: boolean
  /** The oldest transaction that was open then, an xid8 as text: what it did not see is of that one or younger. */
  readonly oldestOpen: string
}

/** Reads it up to the first row that has to stay. */
async function lookInto({ client, facts, limits }: PassStage, { name }: OldPartition): Promise<Look> {
  const { rows } = await client.query({
    text: `SELECT NOT EXISTS (SELECT FROM ${name} o WHERE (${goneBySql(facts)}) IS NOT TRUE) AS gone,
      pg_snapshot_xmin(pg_current_snapshot())::text AS open`,
    values: limitValues(limits),
  })
  return { mayGo: rows[0]!.gone === true, oldestOpen: String(rows[0]!.open) }
}

/** Reads all of it, but asks the rest only of what is young: age() costs next to nothing. */
async function isUnchanged(
  { client, facts, limits }: PassStage,
  { name }: OldPartition,
  looked: Look,
): Promise<boolean> {
  const { rows } = await client.query({
    text: `SELECT NOT EXISTS (SELECT FROM ${name} o
      WHERE age(o.xmin) <= age($4::xid8::xid) AND (${goneBySql(facts)}) IS NOT TRUE) AS unchanged`,
    values: [...limitValues(limits), looked.oldestOpen],
  })
  return rows[0]!.unchanged === true
}
