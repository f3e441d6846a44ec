import { formatLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { deleteRows } from './delete-rows.ts'
import { dropPartitions, findOldPartitions, type OldPartition } from './drop-partitions.ts'
import { FloorGuard, NeededAgain } from './floor-guard.ts'
import { lowestNeed, readNeeds } from './needed-position.ts'
import { foreignPartitions, type OutboxFacts, readOutboxFacts, retentionProblem } from './outbox-facts.ts'
import { LockTroubles, type PassStage } from './pass-stage.ts'
import type { PassReport, RetentionParts, RetentionRule } from './retention.ts'
import { countDeleted, raiseFloor } from './retention-floor.ts'
import { readUnstreamedBelow, unstreamedNotice } from './unstreamed.ts'

/** For statements on rows; milliseconds. */
const lockTimeout = 1000

export interface PassOptions {
  readonly dryRun: boolean
  /** Ends the pass between two batches. */
  readonly signal: AbortSignal
}

const nothing: PassReport = { outcome: 'done', reason: null, rows: 0, partitions: [], floor: null, notices: [] }

/**
 * One pass over the outbox table: what is older than the rule's age goes, as far as a stored snapshot sees it whose WAL
 * end is at or below every position that is still needed, and unless this slot may not have streamed it. So each row that
 * goes had committed below the stored LSN of every slot: it is delivered, or kept as a dead letter. On a connection of its own, in no transaction; one pass at a time for a table.
 * Errors are those of the client; what went before one is gone.
 */
export async function runPass(
  client: PostgresClient,
  rule: RetentionRule,
  parts: RetentionParts,
  options: PassOptions,
): Promise<PassReport> {
  const { table } = rule
  const lockKey = `wal2rabbit retention ${table.schema}.${table.name}`
  if (!(await tryLock(client, lockKey))) {
    return { ...nothing, outcome: 'busy', reason: 'another pass over this table is under way' }
  }
  try {
    // Many short statements, each of which would be compiled anew where the planner thinks them costly. And an error
    // where a policy hides rows: a partition could look as if all of its rows may go.
    const settings = `SELECT set_config('lock_timeout', $1, false), set_config('jit', 'off', false),
      set_config('row_security', 'off', false)`
    await client.query({ text: settings, values: [String(lockTimeout)] })
    const facts = await readOutboxFacts(client, rule)
    const problem = retentionProblem(facts, rule)
    if (problem !== undefined) return { ...nothing, outcome: 'impossible', reason: problem }
    return await passOver(client, rule, parts, { ...options, facts: facts! })
  } finally {
    await client.query({ text: 'SELECT pg_advisory_unlock(hashtextextended($1, 0))', values: [lockKey] })
  }
}

async function passOver(
  client: PostgresClient,
  rule: RetentionRule,
  parts: RetentionParts,
  { facts, dryRun, signal }: PassOptions & { readonly facts: OutboxFacts },
): Promise<PassReport> {
  const { slot, table, age } = rule
  const server = await parts.readLineage(client)
  const need = lowestNeed(await readNeeds(client), server)
  if (typeof need === 'string') return { ...nothing, outcome: 'impossible', reason: need }
  const unstreamedBelow = await readUnstreamedBelow(client, slot)
  if (unstreamedBelow === undefined) {
    const reason = `wal2rabbit.checkpoint has no row for slot ${slot}: what it has delivered is not known`
    return { ...nothing, outcome: 'impossible', reason }
  }
  const entry = await parts.findRetentionSnapshot(client, slot, need.lsn, age, server)
  if (entry === undefined) {
    const reason = `${need.what} needs all from ${formatLsn(need.lsn)} on, and slot ${slot} has no snapshot stored from before`
    return { ...nothing, outcome: 'waiting', reason }
  }
  const floor = entry.snapshotWalEnd
  const guard = new FloorGuard({
    raise: () => raiseFloor(client, table, floor, server),
    async look() {
      const now = lowestNeed(await readNeeds(client), server)
      if (typeof now === 'string' || now.lsn < floor) return typeof now === 'string' ? now : now.what
      return (await readUnstreamedBelow(client, slot)) === unstreamedBelow ? undefined : `a new start of slot ${slot}`
    },
  })
  const foreign = await foreignPartitions(client, facts)
  const notices = new Set(foreign === undefined ? [] : [foreign.text])
  const stage: PassStage = {
    client,
    facts,
    limits: { cutoff: await cutoffOf(client, age), snapshot: entry.snapshot, unstreamedBelow },
    dryRun,
    signal,
    locks: new LockTroubles(),
    notice: (text) => notices.add(text),
    onUnstreamed: () => notices.add(unstreamedNotice(facts, slot)),
    guard,
  }
  const went = { rows: 0, partitions: [] as OldPartition[] }
  const report = (outcome: PassReport['outcome'], reason: string | null): PassReport => ({
    outcome,
    reason,
    rows: went.rows,
    partitions: went.partitions.map(({ name }) => name),
    floor: went.rows > 0 || went.partitions.length > 0 ? floor : null,
    notices: [...notices],
  })
  try {
    const old = await findOldPartitions(stage)
    await dropPartitions(stage, old, (partition) => went.partitions.push(partition))
    await byBlocks(client)
    const without = dryRun ? went.partitions.map(({ oid }) => oid) : []
    await deleteRows(stage, without, (rows) => {
      went.rows += rows
    })
  } catch (error) {
    if (!(error instanceof NeededAgain)) throw error
    return report('waiting', error.message)
  } finally {
    if (guard.isRaised) await countDeleted(client, table, { rows: went.rows, partitions: went.partitions.length })
  }
  if (signal.aborted) return report('incomplete', 'stopped')
  const { total, last } = stage.locks
  if (total === 0) return report('done', null)
  return report(
    'incomplete',
    `${total} times somebody held a lock on rows or a partition that could go: ${String(last)}`,
  )
}

async function tryLock(client: PostgresClient, key: string): Promise<boolean> {
  const text = 'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS held'
  return (await client.query({ text, values: [key] })).rows[0]!.held === true
}

/** By the server's clock, which created_at is of too. */
async function cutoffOf(client: PostgresClient, age: number): Promise<string> {
  const text = `SELECT (clock_timestamp() - $1 * interval '1 millisecond')::text AS cutoff`
  return String((await client.query({ text, values: [age] })).rows[0]!.cutoff)
}

/** An index on created_at would be read from its start for each range of blocks; stale statistics make it look cheap. */
async function byBlocks(client: PostgresClient): Promise<void> {
  const kinds = ['seqscan', 'indexscan', 'indexonlyscan', 'bitmapscan']
  const settings = kinds.map((kind) => `set_config('enable_${kind}', 'off', false)`)
  await client.query({ text: `SELECT ${settings.join(', ')}` })
}
