import { BridgeError } from './base/errors.ts'
import { formatLsn } from './base/lsn.ts'
import { type OpenReplay, openPublishing, type PublishingOptions, routingOptions } from './compose-publishing.ts'
import { RateLimit } from './replay/rate-limit.ts'
import { createRouting } from './routing/message.ts'
import type { BackfillJob } from './setup/run-backfill.ts'
import { sessionConnection } from './setup/session-connection.ts'
import { TableSource } from './source/table-source.ts'

/** A backfill starts over from its first row: servers may be away for longer than a replay waits; milliseconds. */
const patience = 10 * 60_000

/**
 * The table is held meanwhile, so that none of its partitions can go. A lock that waits for that holds up the reading as
 * well, and every writer, and neither would ever end.
 */
const lockTimeout_ms = 10_000

function lockedByOthers(): BridgeError {
  return new BridgeError(
    'BACKFILL_INCOMPLETE',
    `the table could not be read for ${lockTimeout_ms / 1000} s: somebody waits for an exclusive lock on it or a partition (ALTER, DROP, DETACH, TRUNCATE), which waits for the backfill to end`,
  )
}

/**
 * Publishes the rows of a backfill as first deliveries: to where the live stream will send them, without `wal-replay`,
 * under the last position before it. Rejects with a BridgeError.
 */
export function openBackfill(
  options: Pick<PublishingOptions, 'loaded' | 'ledger' | 'record' | 'log'>,
  { table, range, plan, snapshotId }: BackfillJob,
  onTick: () => void,
): Promise<OpenReplay> {
  const { loaded } = options
  const commitLsn = plan.range.to.lsn - 1n
  const position = { commitLsn, commitLsnText: formatLsn(commitLsn) }
  return openPublishing({
    ...options,
    parts: async (_output, trail) => {
      let source: TableSource | undefined
      return {
        range: plan.range,
        routing: createRouting(routingOptions(loaded)),
        newSource: async ({ partial }) => {
          const connection = sessionConnection(await loaded.sourceUrl(), loaded.config.source.connectTimeout)
          const rest = { ...range, after: trail.last }
          source = new TableSource({
            connection,
            table,
            range: rest,
            position,
            snapshotId,
            firstOrdinal: partial?.rows ?? 0,
            lockTimeout: { after: lockTimeout_ms, error: lockedByOthers },
          })
          return source
        },
        mayRest: true,
        onPushed: (row) => trail.note(row.ordinal, source!.orderKeyOf(row)),
        admits: () => true,
        redirect: (event) => event,
        rate: new RateLimit(undefined),
        onTick,
        patience,
      }
    },
  })
}
