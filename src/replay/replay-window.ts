import type { Lsn } from '../base/lsn.ts'
import { type Anchor, type LiveSlot, retainedBy } from './anchor.ts'
import { walFloor } from './reach.ts'

/** How far back the WAL can be replayed, and what keeps it. */
export interface ReplayWindow {
  /** Oldest first. */
  readonly anchors: readonly { readonly name: string; readonly lsn: Lsn | null; readonly retainedBytes: bigint }[]
  /** All that commits from here on can be replayed; null when no slot can be streamed from. */
  readonly reachesBackTo: Lsn | null
  /** At the latest: an anchor stands where the live slot stood when it was made. Null without an anchor. */
  readonly reachesBackToTime: Date | null
  /** From there to the WAL end. */
  readonly bytes: bigint | null
  /** Milliseconds since then. */
  readonly time: number | null
  /** WAL kept from being removed by the oldest anchor; 0 without one. */
  readonly retainedBytes: bigint
}

export interface WindowFacts {
  readonly now: Date
  readonly walEnd: Lsn
  readonly live: LiveSlot | undefined
  readonly anchors: readonly Anchor[]
}

/** Pure. The live slot counts as well: a replay may start from a copy of it. */
export function describeWindow({ now, walEnd, live, anchors }: WindowFacts): ReplayWindow {
  const slots = live === undefined ? anchors : [...anchors, { ...live, name: '' }]
  const floor = walFloor(slots)
  const oldest = anchors.find((one) => one.invalidation === undefined && one.confirmedFlushLsn === floor)
  const shown = anchors.map((anchor) => ({
    name: anchor.name,
    lsn: anchor.confirmedFlushLsn ?? null,
    retainedBytes: retainedBy(anchor, walEnd),
  }))
  return {
    anchors: shown,
    reachesBackTo: floor ?? null,
    reachesBackToTime: floor === undefined ? null : (oldest?.madeAt ?? null),
    bytes: floor === undefined ? null : floor > walEnd ? 0n : walEnd - floor,
    time: oldest === undefined || floor === undefined ? null : Math.max(0, now.getTime() - oldest.madeAt.getTime()),
    retainedBytes: shown.reduce((most, { retainedBytes }) => (retainedBytes > most ? retainedBytes : most), 0n),
  }
}
