import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { AnchorSight } from '../replay/anchor-keeper.ts'
import type { ReplayWindowStatus } from './status.ts'

/** The window as JSON has it; pure. */
export function replayWindowStatus(sight: AnchorSight): ReplayWindowStatus {
  return {
    anchors: sight.anchors.map(({ name, lsn, retainedBytes }) => ({
      name,
      lsn: lsnText(lsn),
      retainedBytes: Number(retainedBytes),
    })),
    reachesBackTo: lsnText(sight.reachesBackTo),
    reachesBackToTime: sight.reachesBackToTime?.toISOString() ?? null,
    bytes: sight.bytes === null ? null : Number(sight.bytes),
    seconds: sight.time === null ? null : sight.time / 1000,
    retainedBytes: Number(sight.retainedBytes),
    degraded: sight.degraded,
  }
}

function lsnText(lsn: Lsn | null): string | null {
  return lsn === null ? null : formatLsn(lsn)
}
