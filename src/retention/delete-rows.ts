import type { PostgresClient } from '../base/postgres-client.ts'
import type { OutboxFacts } from './outbox-facts.ts'
import {
  type Batch,
  type BlockCount,
  cutBatches,
  firstChunk,
  nextChunk,
  pauseAfterDelete,
  pauseAfterLook,
} from './pacing.ts'
import { type PassStage, pause } from './pass-stage.ts'
import { goneBySql, limitValues, settledSql, unstreamedSql } from './row-conditions.ts'

/**
 * Deletes rows in small batches, or counts them in a dry run; `onGone` is called with how many went each time. The heap is walked by block ranges,
 * so that no index is needed and one pass reads the table once; of a partitioned table the same range of all partitions
 * that may hold old rows, through the root, on which the grants are, but for those whose oid is in `without`. A look comes first: where nothing is old nothing is
 * written, and batches keep to their size.
 */
export async function deleteRows(
  stage: PassStage,
  without: readonly string[],
  onGone: (rows: number) => void,
): Promise<void> {
  const { client, facts, signal, dryRun } = stage
  const end = await blocksOf(client, facts)
  let size = firstChunk
  for (let from = 0; from < end && !signal.aborted; ) {
    const to = Math.min(end, from + size)
    const started = performance.now()
    const batches = cutBatches(await look(stage, from, to, without))
    const elapsed = performance.now() - started
    for (const batch of batches) onGone(dryRun ? batch.rows : await deleteBatch(stage, batch))
    await pause(pauseAfterLook(elapsed), signal)
    from = to
    size = nextChunk(size, elapsed)
  }
}

/** Blocks of the table, or of its largest partition. */
async function blocksOf(client: PostgresClient, { oid }: OutboxFacts): Promise<number> {
  const { rows } = await client.query({
    text: `SELECT ceil(coalesce((SELECT max(pg_relation_size(relid)) FROM pg_partition_tree($1::oid) WHERE isleaf),
      pg_relation_size($1::oid)) / current_setting('block_size')::numeric)::text AS blocks`,
    values: [oid],
  })
  return Number(rows[0]!.blocks)
}

async function look(stage: PassStage, from: number, to: number, without: readonly string[]): Promise<BlockCount[]> {
  const { client, facts, limits } = stage
  const { rows } = await client.query({
    text: `SELECT (o.ctid::text::point)[0]::bigint::text AS block, count(*)::text AS settled,
        count(*) FILTER (WHERE ${unstreamedSql(facts)})::text AS unstreamed FROM ${facts.from} o
      WHERE o.ctid >= $4::tid AND o.ctid < $5::tid AND ${settledSql(facts)} AND o.tableoid <> ALL ($6::oid[])
      GROUP BY 1`,
    values: [...limitValues(limits), `(${from},0)`, `(${to},0)`, without],
  })
  if (rows.some((row) => row.unstreamed !== '0')) stage.onUnstreamed()
  return rows
    .map((row) => ({ block: Number(row.block), rows: Number(row.settled) - Number(row.unstreamed) }))
    .filter((block) => block.rows > 0)
    .toSorted((a, b) => a.block - b.block)
}

/** How many went; none where somebody holds one of them. */
async function deleteBatch(stage: PassStage, { from, to }: Batch): Promise<number> {
  const { client, facts, limits, signal, locks, guard } = stage
  if (signal.aborted) return 0
  await guard.beforeRows()
  const started = performance.now()
  try {
    const { rowCount } = await client.query({
      text: `DELETE FROM ${facts.from} o WHERE o.ctid >= $4::tid AND o.ctid < $5::tid AND ${goneBySql(facts)}`,
      values: [...limitValues(limits), `(${from},0)`, `(${to},0)`],
    })
    locks.passed()
    await pause(pauseAfterDelete(performance.now() - started), signal)
    return rowCount ?? 0
  } catch (error) {
    await pause(locks.met(error), signal)
    return 0
  }
}
