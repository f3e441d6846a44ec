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
    if (signal.aborted || !partition.droppable || !(await mayGo(stage, partition))) continue
    if (dryRun || (await drop(stage, partition))) onGone(partition)
  }
}

/** False when it has to stay after all, or somebody holds it. */
async function drop(stage: PassStage, partition: OldPartition): Promise<boolean> {
  const { locks, signal, guard } = stage
  await guard.beforeFirst()
  try {
    const gone = await dropIfGone(stage, partition)
    locks.passed()
    return gone === true
  } catch (error) {
    await pause(locks.met(error), signal)
    return false
  }
}

/** Once the lock is had nobody has an uncommitted row in there, and nobody can add one; so the second look counts. */
function dropIfGone(stage: PassStage, partition: OldPartition): Promise<true | undefined> {
  const { client, guard } = stage
  return inTransaction(client, async () => {
    await client.query({ text: `SET LOCAL lock_timeout = ${lockTimeout.partition}` })
    await client.query({ text: `LOCK TABLE ${partition.name} IN SHARE ROW EXCLUSIVE MODE` })
    if (!(await mayGo(stage, partition))) return undefined
    await guard.beforePartition()
    await client.query({ text: `SET LOCAL lock_timeout = ${lockTimeout.drop}` })
    await client.query({ text: `DROP TABLE ${partition.name}` })
    return true
  })
}

/** Whether every row of it is old and settled. Reads it up to the first that is not. */
async function mayGo({ client, facts, limits }: PassStage, { name }: OldPartition): Promise<boolean> {
  const { rows } = await client.query({
    text: `SELECT NOT EXISTS (SELECT FROM ${name} o WHERE (${goneBySql(facts)}) IS NOT TRUE) AS gone`,
    values: limitValues(limits),
  })
  return rows[0]!.gone === true
}
