import { BridgeError, type ErrorCode } from '../base/errors.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { RewindIntent } from '../checkpoint/rewind-intent.ts'
import { baseSlotFor, type ReplaySlot } from './reach.ts'

/** A slot as a rewind looks at it. */
export interface RewindSlot extends ReplaySlot {
  /** Undefined for a physical slot. */
  readonly plugin: string | undefined
  readonly database: string | undefined
  readonly active: boolean
  readonly activePid: number | undefined
  /** PostgreSQL 17 and newer; false of a copy. */
  readonly failover: boolean
}

/** What is found while a rewind is under way. Nothing else is remembered from step to step, or from run to run. */
export interface RewindFacts {
  readonly intent: RewindIntent
  readonly plugin: string
  readonly database: string
  /** Where the row of the checkpoint stands: as the intent says it was, at the target, anywhere else, or it is gone. */
  readonly checkpoint: 'before' | 'target' | 'elsewhere' | 'missing'
  readonly live: RewindSlot | undefined
  readonly staging: RewindSlot | undefined
  readonly anchors: readonly RewindSlot[]
  readonly stagingName: string
  /** Another bridge took that name meanwhile. */
  readonly isStagingForeign: boolean
}

/**
 * - `stage`: copy the slot `base` to the staging slot
 * - `restage`: drop a staging slot that cannot be streamed any more, or not from the target
 * - `move`: set the stored position to the target; `restore`: back to where it was
 * - `drop`: drop the live slot; `replace`: copy the staging slot to its name
 * - `unstage`: drop the staging slot
 * - `failover`: give the live slot back what a copy does not have
 * - `finish`: delete the intent; a bridge may start
 */
export type RewindStep =
  | { readonly kind: 'stage'; readonly base: string }
  | { readonly kind: 'restage' | 'move' | 'restore' | 'drop' | 'replace' | 'unstage' | 'failover' | 'finish' }

/**
 * The next step of a rewind, or why it cannot go on: BRIDGE_RUNNING while the live slot is in use. Pure.
 *
 * The stored position moves first, and the slot after it. So whoever passes over the intent finds a slot that is ahead of
 * the row, or none, and halts. The live slot is dropped only while a staging slot holds everything from the target on.
 */
export function nextRewindStep(facts: RewindFacts): RewindStep | BridgeError {
  const { intent, checkpoint, live, staging } = facts
  const problem = checkRow(facts) ?? checkNames(facts) ?? checkUse(facts)
  if (problem !== undefined) return problem
  const { lsn } = intent.target
  // Replaced already, or never told more than the target.
  if (streamsFrom(live, lsn)) {
    if (checkpoint === 'before') return { kind: 'move' }
    if (staging !== undefined) return { kind: 'unstage' }
    return { kind: lacksFailover(facts) ? 'failover' : 'finish' }
  }
  if (streamsFrom(staging, lsn)) {
    if (checkpoint === 'before') return { kind: 'move' }
    return { kind: live === undefined ? 'replace' : 'drop' }
  }
  const base = baseSlotFor(
    facts.anchors.filter((slot) => isOurs(slot, facts)),
    lsn,
  )
  if (base === undefined) return outOfReach(facts)
  return staging === undefined ? { kind: 'stage', base: base.name } : { kind: 'restage' }
}

/**
 * The next step of giving a rewind up, or why that cannot be. It can while nothing has moved, or while the live slot still
 * streams from the old stored position. Where no slot reaches the target any more, only what is left is taken away: the
 * bridge halts then, and says what is missing. Pure.
 */
export function nextAbortStep(facts: RewindFacts): RewindStep | BridgeError {
  const { intent, checkpoint, live } = facts
  // What is not ours is none of the rewind, and must not keep it from being given up.
  const staging = facts.staging !== undefined && isStagingOurs(facts) ? facts.staging : undefined
  const problem = checkNames({ ...facts, staging, isStagingForeign: false }) ?? checkUse({ ...facts, staging })
  if (problem !== undefined) return problem
  const canGoBack = streamsFrom(live, intent.from.lsn)
  if (checkpoint === 'target' && canGoBack) return { kind: 'restore' }
  if (checkpoint !== 'before' && !canGoBack) {
    const onward = nextRewindStep(facts)
    if (!(onward instanceof BridgeError)) {
      return refusal(
        'REWIND_UNFINISHED',
        `slot ${intent.slot} no longer streams from the old stored LSN ${formatLsn(intent.from.lsn)}: the rewind to ${formatLsn(intent.target.lsn)} can be finished, not given up`,
      )
    }
    if (onward.code !== 'REPLAY_OUT_OF_REACH') return onward
  }
  if (staging !== undefined) return { kind: 'unstage' }
  return { kind: canGoBack && lacksFailover(facts) ? 'failover' : 'finish' }
}

/** Whether everything that commits at `lsn` or above can be streamed from the slot. */
function streamsFrom(slot: RewindSlot | undefined, lsn: Lsn): boolean {
  return slot !== undefined && baseSlotFor([slot], lsn) !== undefined
}

/** Made anew from a copy. */
function lacksFailover({ intent, live }: RewindFacts): boolean {
  return intent.failover && live?.failover === false
}

function checkRow({ intent: { slot }, checkpoint }: RewindFacts): BridgeError | undefined {
  if (checkpoint === 'missing')
    return refusal('CHECKPOINT_MISSING', `wal2rabbit.checkpoint has no row for slot ${slot}`)
  if (checkpoint === 'elsewhere') {
    return refusal(
      'CHECKPOINT_FENCED',
      `checkpoint of slot ${slot} was changed by somebody else since its rewind began, expected the stored position of wal2rabbit.rewind: from or target`,
    )
  }
  return undefined
}

/** Slots that stand in the way under a name that is ours. */
function checkNames(facts: RewindFacts): BridgeError | undefined {
  if (facts.isStagingForeign) {
    return refusal(
      'SLOT_NAME_TAKEN',
      `slot ${facts.stagingName} is that of another bridge, expected a copy of ${facts.intent.slot} or none`,
    )
  }
  const foreign = [facts.live, facts.staging].find((slot) => slot !== undefined && !isOurs(slot, facts))
  if (foreign === undefined) return undefined
  const code = foreign.plugin === facts.plugin ? 'SLOT_WRONG_DATABASE' : 'SLOT_WRONG_PLUGIN'
  return refusal(
    code,
    `slot ${foreign.name} has the plugin ${foreign.plugin} and belongs to database ${foreign.database}, expected ${facts.plugin} and ${facts.database}`,
  )
}

function checkUse({ live, staging }: RewindFacts): BridgeError | undefined {
  const used = [live, staging].find((slot) => slot?.active)
  if (used === undefined) return undefined
  return refusal('BRIDGE_RUNNING', `slot ${used.name} is in use by another process (server pid ${used.activePid})`)
}

function isStagingOurs(facts: RewindFacts): boolean {
  return !facts.isStagingForeign && isOurs(facts.staging!, facts)
}

function isOurs(slot: RewindSlot, { plugin, database }: RewindFacts): boolean {
  return slot.plugin === plugin && slot.database === database
}

function outOfReach({ intent, staging, stagingName }: RewindFacts): BridgeError {
  const target = formatLsn(intent.target.lsn)
  const why =
    staging === undefined
      ? `slot ${stagingName} is gone`
      : staging.invalidation === undefined
        ? `slot ${stagingName} is confirmed up to ${formatLsn(staging.confirmedFlushLsn ?? 0n)}`
        : `slot ${stagingName} is invalidated (${staging.invalidation})`
  return refusal(
    'REPLAY_OUT_OF_REACH',
    `no slot reaches back to ${target} any more: ${why}, and no anchor is left; "wal2rabbit rewind --abort --yes" gives it up`,
  )
}

function refusal(code: ErrorCode, message: string): BridgeError {
  return new BridgeError(code, message)
}
