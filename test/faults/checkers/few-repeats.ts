import { type CheckpointChange, type Delivery, isCovered, publishedDeliveries, type StoredPosition } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

export interface RepeatFacts {
  readonly deliveries: readonly Delivery[]
  readonly changes: readonly CheckpointChange[]
  /** New sessions and new connections to the broker. */
  readonly interruptions: number
  /** The most messages that are published and unsettled. */
  readonly window: number
  /** Milliseconds from settled to stored, about. */
  readonly storeInterval: number
  /** Repeats that the row explains otherwise, such as nacks of one of two queues. */
  readonly explained: number
  /** Repeats below the stored position that the row explains: bytes that were held up in the network. */
  readonly stale: number
}

/** What the bridge published more than once. */
export function repeats(deliveries: readonly Delivery[]): Delivery[] {
  const seen = new Set<string>()
  return publishedDeliveries(deliveries).filter(({ id }) => seen.has(id) || !seen.add(id))
}

/** I4: repeats lie above what was stored when their session began, and are few. */
export function checkFewRepeats(facts: RepeatFacts): Violation[] {
  const below = repeatsBelowStart(facts.deliveries, facts.changes)
  const violations =
    below.length > facts.stale
      ? violationOf(
          'I4',
          'repeated, though stored before the session began',
          below.map(({ id }) => id),
        )
      : []
  const count = repeats(facts.deliveries).length
  const perInterruption = facts.window + mostWithin(facts.deliveries, facts.storeInterval + storeLatency_ms)
  const allowed = facts.interruptions * perInterruption + facts.explained + facts.stale
  if (count > allowed) {
    const what = `${count} repeats, at most ${allowed} for ${facts.interruptions} interruptions`
    violations.push({ invariant: 'I4', what, count: count - allowed })
  }
  return violations
}

/** A store is looked for four times an interval, and takes a round trip on a busy machine. */
const storeLatency_ms = 250

/**
 * The queue keeps the order of publishing. So whatever comes after the first event that committed after a session had
 * begun was published by that session or a later one, and may not lie below its start.
 */
function repeatsBelowStart(deliveries: readonly Delivery[], changes: readonly CheckpointChange[]): Delivery[] {
  const sessions = sessionStarts(changes)
  const seen = new Set<string>()
  let begun = 0
  let start: StoredPosition | undefined
  return publishedDeliveries(deliveries).filter((delivery) => {
    for (let next = sessions[begun]; next !== undefined && delivery.committedAt > next.at; next = sessions[begun]) {
      start = next.stored
      begun++
    }
    if (!seen.has(delivery.id)) {
      seen.add(delivery.id)
      return false
    }
    return start !== undefined && isCovered(delivery, start)
  })
}

/** The first change of each epoch is the claim of a session. */
export function sessionStarts(changes: readonly CheckpointChange[]): CheckpointChange[] {
  return changes.filter(({ epoch }, n) => epoch > 0n && epoch !== changes[n - 1]?.epoch)
}

/** The most deliveries that arrived within so many milliseconds. */
export function mostWithin(deliveries: readonly Delivery[], span: number): number {
  let most = 0
  let from = 0
  for (const [to, { arrivedAt }] of deliveries.entries()) {
    while (arrivedAt - deliveries[from]!.arrivedAt > span) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}
