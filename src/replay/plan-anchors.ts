import type { Lsn } from '../base/lsn.ts'
import { type Anchor, byPosition, distance, type LiveSlot, position, retainedBy, usable } from './anchor.ts'
import { anchorName } from './anchor-name.ts'
import {
  type Degradation,
  inUse,
  lostByInvalidation,
  lostToBound,
  lostToSomebody,
  nameTooLong,
  slotCannotBeCopied,
  slotRetains,
  walTooFast,
} from './window-degradation.ts'

/** `replay.window`: milliseconds and bytes, whichever is reached first; 0 of either turns it off. */
export interface ReplayWindowLimits {
  readonly time: number
  readonly bytes: number
}

export interface AnchorFacts {
  /** Of the server, as the anchors' names are. */
  readonly now: Date
  readonly slot: string
  readonly walEnd: Lsn
  /** Undefined when it is not there. */
  readonly live: LiveSlot | undefined
  readonly anchors: readonly Anchor[]
  readonly window: ReplayWindowLimits
  /** Bytes of WAL a millisecond, as last seen; undefined before the second tick. */
  readonly walRate: number | undefined
  /** The most bytes of WAL from one tick to the next of late, however long that was; undefined before the second. */
  readonly tickGrowth: number | undefined
  /** The WAL end when PostgreSQL was last asked for a snapshot; undefined before. */
  readonly refreshedAt: Lsn | undefined
  /** Names of the anchors that the last tick left; undefined before the first. */
  readonly known: readonly string[] | undefined
  /** Why the window reaches back less than asked for, from the last tick. */
  readonly loss: Degradation | undefined
}

/**
 * `covered`: a younger one reaches back far enough; `bound`: before it retains too much; `spare`: another stands close by;
 * `off`: replay.window is 0.
 */
export type DropReason = 'off' | 'invalidated' | 'covered' | 'bound' | 'spare'

export interface AnchorPlan {
  /** In this order, and before anything is made. */
  readonly drops: readonly { readonly name: string; readonly because: DropReason }[]
  /** The name of a copy of the live slot to make; undefined for none. */
  readonly create: string | undefined
  /** Whether PostgreSQL is to be asked for a snapshot in the WAL, so that the live slot's restart LSN comes forward. */
  readonly refresh: boolean
  /** Anchors that somebody else dropped. */
  readonly gone: readonly string[]
  readonly loss: Degradation | undefined
  /** What keeps the window from being what was asked for, other than a loss. */
  readonly degraded: Degradation | undefined
  /** Milliseconds until the next tick. */
  readonly wait: number
}

export const anchors_max = 3
/** Milliseconds between two ticks: the shortest while so much WAL is written that the usual would be too coarse. */
const tick = { usual: 1000, shortest: 25, off: 30_000 }
/** Bytes of WAL a millisecond that a tick is always ready for: what some busy connections write. */
const burst = 62_500
/** Milliseconds that a look, or what it decides on, may come late on a busy server. */
const lateness = 300

/**
 * Decides what is to be done with the anchors. Sizes are parts of `bytes`, B. An anchor is made every B/2, or half of
 * the time; the oldest goes when the second covers the window. Between two anchors lie less than 3/4 B, so the oldest
 * retains 7/4 B at most in quiet water. What is left to 2 B is the reserve; when WAL comes so fast that it has to be larger,
 * the oldest goes early, whatever else is lost by that.
 */
export function planAnchors(facts: AnchorFacts): AnchorPlan {
  const { anchors, window, walEnd } = facts
  if (window.time === 0 || window.bytes === 0) return turnOff(facts)
  const bytes = BigInt(window.bytes)
  const wait = waitFor(window.bytes, facts.walRate)
  const reserve = reserveOf(facts)
  const gone = (facts.known ?? []).filter((name) => !anchors.some((anchor) => anchor.name === name))
  let loss = gone.length > 0 ? lostToSomebody(gone) : facts.loss
  let left = anchors.toSorted(byPosition)
  const drops: { name: string; because: DropReason }[] = []
  let busy: Anchor | undefined
  /** What somebody uses cannot be dropped: it is looked at again with the next tick. */
  const drop = (anchor: Anchor, because: DropReason): boolean => {
    if (anchor.active) {
      if (because === 'bound') busy = anchor
      return false
    }
    drops.push({ name: anchor.name, because })
    left = left.filter((one) => one !== anchor)
    return true
  }

  for (const anchor of left.filter(({ invalidation }) => invalidation !== undefined)) {
    loss = lostByInvalidation(anchor.name, anchor.invalidation!)
    drop(anchor, 'invalidated')
  }
  while (left.length > 1 && covers(left[1]!, facts) && drop(left[0]!, 'covered'));
  for (const anchor of left.filter((one) => retainedBy(one, walEnd) > 2n * bytes - reserve)) {
    if (drop(anchor, 'bound')) loss = lostToBound(anchor.name, 2n * bytes)
  }
  while (left.length > anchors_max && drop(closestToItsElder(left), 'spare'));

  const due = isDue(left, facts)
  const obstacle = due ? obstacleTo(facts, bytes, reserve) : undefined
  const name = due && obstacle === undefined ? anchorName(facts.slot, facts.now) : undefined
  if (name !== undefined && left.length === anchors_max && standsClose(left, bytes)) drop(left.at(-1)!, 'spare')
  const room = left.length < anchors_max && !anchors.some((anchor) => anchor.name === name)
  const oldest = left.find(usable)
  if (oldest !== undefined && covers(oldest, facts)) loss = undefined
  return {
    drops,
    create: room ? name : undefined,
    refresh: wantsSnapshot(left, facts),
    gone,
    loss,
    degraded: obstacle ?? (busy === undefined ? undefined : inUse(busy.name)),
    wait,
  }
}

/** What is left to do of a plan for a bridge that waits, and means to take its slot up again: the bound holds. */
export function onlyBound(plan: AnchorPlan, live: LiveSlot | undefined): AnchorPlan {
  // In use again: that bridge sees to it.
  const drops =
    live?.active === true ? [] : plan.drops.filter(({ because }) => because === 'bound' || because === 'off')
  return { ...plan, drops, create: undefined, refresh: false, gone: [] }
}

/** Bytes that stay free below the bound, for what is written until the next look has done its part. */
function reserveOf({ window, walRate = 0, tickGrowth = 0 }: AnchorFacts): bigint {
  return BigInt(Math.ceil(Math.max(window.bytes / 4, 2 * tickGrowth, lateness * walRate)))
}

function turnOff({ anchors }: AnchorFacts): AnchorPlan {
  const drops = anchors.filter(({ active }) => !active).map(({ name }) => ({ name, because: 'off' as const }))
  const wait = anchors.length > 0 ? tick.usual : tick.off
  return { drops, create: undefined, refresh: false, gone: [], loss: undefined, degraded: undefined, wait }
}

/** So short that 1/16 of the window at most is written meanwhile, also in a burst out of silence. */
function waitFor(bytes: number, walRate: number | undefined): number {
  if (walRate === undefined) return tick.shortest
  const fitting = bytes / 16 / Math.max(walRate, burst)
  return Math.round(Math.min(tick.usual, Math.max(tick.shortest, fitting)))
}

/** Whether this anchor alone makes all of the window replayable. */
function covers(anchor: Anchor, { now, walEnd, window }: AnchorFacts): boolean {
  if (!usable(anchor)) return false
  return walEnd - position(anchor) >= BigInt(window.bytes) || now.getTime() - anchor.madeAt.getTime() >= window.time
}

/**
 * Whether the newest is half a window old. By size that is how far the live slot has come since: while that stands, as
 * with a broker that is down, another anchor would reach back no less.
 */
function isDue(left: readonly Anchor[], { live, now, window }: AnchorFacts): boolean {
  const newest = left.at(-1)
  if (newest === undefined) return true
  const to = live?.confirmedFlushLsn
  if (to === undefined || !usable(newest) || to <= position(newest)) return false
  return (
    to - position(newest) >= BigInt(window.bytes) / 2n || now.getTime() - newest.madeAt.getTime() >= window.time / 2
  )
}

/**
 * A copy begins with the WAL that the live slot retains behind its position, and that is all since the last snapshot of
 * running transactions: PostgreSQL writes one every 15 seconds by itself, which under load can be more than the window.
 * So one is asked for when the next anchor comes near.
 */
function wantsSnapshot(left: readonly Anchor[], { live, walEnd, window, refreshedAt }: AnchorFacts): boolean {
  if (live?.confirmedFlushLsn === undefined || live.restartLsn === undefined) return false
  const least = BigInt(window.bytes) / 16n
  const newest = left.at(-1)
  const isNear = newest === undefined || live.confirmedFlushLsn - position(newest) >= BigInt(window.bytes) / 4n
  const asked = refreshedAt !== undefined && walEnd - refreshedAt < least
  return isNear && !asked && live.confirmedFlushLsn - live.restartLsn > least
}

/**
 * With three, by time, the newest may stand so close to the one before it that it gives way to the next: else that would
 * have to wait until the second covers the window, and too much would lie between the two.
 */
function standsClose(left: readonly Anchor[], bytes: bigint): boolean {
  return distance(left.at(-2)!, left.at(-1)!) < bytes / 4n
}

/** Of more than there should be, as two bridges can make around a take-over, the one that is missed least. */
function closestToItsElder(left: readonly Anchor[]): Anchor {
  const gaps = left.slice(1).map((anchor, index) => ({ anchor, gap: distance(left[index]!, anchor) }))
  return gaps.reduce((least, one) => (one.gap < least.gap ? one : least)).anchor
}

/** Why no copy of the live slot can be made now, or it would have to be dropped before the next is due. */
function obstacleTo(facts: AnchorFacts, bytes: bigint, reserve: bigint): Degradation | undefined {
  const { live, slot, now, walEnd } = facts
  if (anchorName(slot, now) === undefined) return nameTooLong(slot)
  if (live === undefined) return slotCannotBeCopied(slot, 'is missing')
  if (live.invalidation !== undefined) return slotCannotBeCopied(slot, `is invalidated (${live.invalidation})`)
  if (live.restartLsn === undefined || live.confirmedFlushLsn === undefined)
    return slotCannotBeCopied(slot, 'has no position yet')
  if (bytes / 2n + reserve > 2n * bytes) return walTooFast(reserve, bytes)
  const held = walEnd - live.restartLsn
  return held + bytes / 2n + reserve > 2n * bytes ? slotRetains(slot, held, 2n * bytes) : undefined
}
