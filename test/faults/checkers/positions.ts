import { formatLsn } from '../../../src/base/lsn.ts'
import type { CheckpointChange, PositionSample, StoredPosition } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

/** I6: acknowledged ≤ stored, where the slot was read before the checkpoint row. */
export function checkAcknowledgedIsStored(samples: readonly PositionSample[]): Violation[] {
  const above = samples.filter(({ acknowledged, stored }) => acknowledged > stored)
  return violationOf(
    'I6',
    'acknowledged above the stored position',
    above.map(({ acknowledged, stored }) => `${formatLsn(acknowledged)} > ${formatLsn(stored)}`),
  )
}

/** I7: from version to version the stored position stays or moves forward, and epochs only count up. */
export function checkOnlyForward(changes: readonly CheckpointChange[]): Violation[] {
  const back = changes.filter((change, n) => {
    const before = changes[n - 1]
    if (before === undefined) return false
    if (change.version <= before.version || change.epoch < before.epoch) return true
    // A claim may drop the position inside a transaction, when the server no longer vouches for it.
    const claimed = change.epoch !== before.epoch
    return claimed ? change.stored.lsn < before.stored.lsn : compareStored(change.stored, before.stored) < 0
  })
  return violationOf(
    'I7',
    'the stored position moved back',
    back.map(({ version, stored }) => `version ${version} at ${formatLsn(stored.lsn)}`),
  )
}

function compareStored(a: StoredPosition, b: StoredPosition): number {
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1
  if (a.partial === null || b.partial === null) return Number(a.partial !== null) - Number(b.partial !== null)
  if (a.partial.commitLsn !== b.partial.commitLsn) return a.partial.commitLsn < b.partial.commitLsn ? -1 : 1
  return a.partial.rows - b.partial.rows
}
