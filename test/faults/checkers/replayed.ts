import { formatLsn } from '../../../src/base/lsn.ts'
import { mostWithin } from './few-repeats.ts'
import { comparePlaces, type Delivery, isCovered, publishedDeliveries, type StoredPosition } from './history.ts'
import { some, type Violation, violationOf } from './violation.ts'

/** One process of a replay, from its start to its end. */
export interface ReplayedRun {
  /** How far the replay had come by its record when this process began. */
  readonly start: StoredPosition
  /** In order of arrival. */
  readonly deliveries: readonly Delivery[]
  /** Connections to the broker that broke while it ran: after each the unsettled window is sent again. */
  readonly interruptions: number
}

/** A replay that is done. */
export interface ReplayedFacts {
  readonly id: string
  /** The first live deliveries of what committed in its range, in commit order. */
  readonly expected: readonly Delivery[]
  readonly runs: readonly ReplayedRun[]
  /** The most messages that are published and unsettled. */
  readonly window: number
  /** Milliseconds from settled to stored, at most. */
  readonly storeInterval: number
}

/** How often a replay published what it had published before. */
export function replayedAgain(runs: readonly ReplayedRun[]): number {
  const published = publishedDeliveries(runs.flatMap(({ deliveries }) => deliveries))
  return published.length - new Set(published.map(({ id }) => id)).size
}

/** G9: what a replay published over all of its runs is the range, in order, as it was the first time; repeats are few. */
export function checkReplayed(facts: ReplayedFacts): Violation[] {
  const { id, expected, runs } = facts
  const all = runs.flatMap(({ deliveries }) => deliveries)
  const first = new Map(expected.map((event) => [event.id, event]))
  const received = new Set(all.map((delivery) => delivery.id))
  const inRange = all.filter((delivery) => first.has(delivery.id))
  const list = (what: string, deliveries: readonly Delivery[]) =>
    violationOf('G9', `replay ${id}: ${what}`, deliveries.map(label))
  return [
    ...list(
      'in its range, and not published',
      expected.filter((event) => !received.has(event.id)),
    ),
    ...list(
      'published, and not of its range',
      all.filter((delivery) => !first.has(delivery.id)),
    ),
    ...list(
      'differs from the first time',
      inRange.filter((delivery) => !isSame(delivery, first.get(delivery.id)!)),
    ),
    ...list(
      'without its header',
      all.filter(({ replay }) => replay !== id),
    ),
    ...checkSequences(facts),
  ]
}

/** G9: a live event is marked as no replay's. */
export function checkLiveIsNoReplay(deliveries: readonly Delivery[]): Violation[] {
  const marked = deliveries.filter(({ replay }) => replay !== undefined)
  return violationOf('G9', 'a live event with the header of a replay', marked.map(label))
}

/** Each run begins where the record says, leaves nothing out, and goes back only where it was interrupted. */
function checkSequences({ id, expected, runs, window, storeInterval }: ReplayedFacts): Violation[] {
  const numbers = new Map(expected.map((event, n) => [event.id, n]))
  const violations: Violation[] = []
  const note = (what: string, count = 1) =>
    void violations.push({ invariant: 'G9', what: `replay ${id}: ${what}`, count })
  let furthest = -1
  /** What the process before published and did not record, at most. */
  let before = { begins: 0, ends: 0, allowed: 0 }
  for (const [n, { start, deliveries, interruptions }] of runs.entries()) {
    const sequence = publishedDeliveries(deliveries).flatMap((delivery) => numbers.get(delivery.id) ?? [])
    const due = expected.findIndex((event) => !isCovered(event, start))
    const begins = due === -1 ? expected.length : due
    const at = `run ${n + 1}, from ${formatLsn(start.lsn)}`
    if (begins > furthest + 1)
      note(`${at}: ${begins - furthest - 1} events are recorded as settled, and were not published`)
    if (begins < before.begins) note(`${at}: the record went back over ${before.begins - begins} events`)
    const again = before.ends - begins
    if (again > before.allowed)
      note(`${at}: ${again} events had been published and not recorded, at most ${before.allowed}`)
    if (sequence.length > 0 && sequence[0] !== begins)
      note(`${at}: begins with event ${sequence[0]} in place of ${begins}`)

    const skips = sequence.filter((number, k) => k > 0 && number > sequence[k - 1]! + 1)
    if (skips.length > 0)
      note(`${at}: leaves out what lies before ${some(skips.map((k) => label(expected[k]!)))}`, skips.length)
    const back = sequence.flatMap((number, k) =>
      k > 0 && number <= sequence[k - 1]! ? sequence[k - 1]! + 1 - number : [],
    )
    if (back.length > interruptions) note(`${at}: goes back ${back.length} times with ${interruptions} interruptions`)
    const furthestBack = Math.max(0, ...back)
    if (furthestBack > window) note(`${at}: goes back over ${furthestBack} events, at most ${window}`)
    const last = sequence.reduce((most, number) => Math.max(most, number), begins - 1)
    furthest = Math.max(furthest, last)
    before = { begins, ends: last + 1, allowed: window + mostWithin(deliveries, storeInterval) }
  }
  return violations
}

function isSame(delivery: Delivery, first: Delivery): boolean {
  const { aggregate, sequence, digest, committedAt } = delivery
  return (
    comparePlaces(delivery, first) === 0 &&
    aggregate === first.aggregate &&
    sequence === first.sequence &&
    digest === first.digest &&
    committedAt === first.committedAt
  )
}

function label({ id, commitLsn, ordinal }: Delivery): string {
  return `${id} ${formatLsn(commitLsn)}#${ordinal}`
}
