import { formatLsn } from '../../../src/base/lsn.ts'
import {
  comparePlaces,
  type Delivery,
  firstDeliveries,
  type Place,
  publishedDeliveries,
  type WitnessedRow,
} from './history.ts'
import { type Violation, violationOf } from './violation.ts'

export interface OrderFacts {
  readonly deliveries: readonly Delivery[]
  /** Undefined where there was no witness: then order is judged within aggregates. */
  readonly witnessed: readonly WitnessedRow[] | undefined
  /** `aggregate`: only the events of one aggregate are in order. */
  readonly order: 'commit' | 'aggregate'
  /** New sessions and new connections to the broker: after each the sequence may go back once. */
  readonly interruptions: number
}

/** First deliveries that came after a later event of their aggregate. */
export function outOfOrder(deliveries: readonly Delivery[]): Delivery[] {
  const highest = new Map<string, number>()
  return firstDeliveries(deliveries).filter(({ aggregate, sequence }) => {
    const before = highest.get(aggregate) ?? 0
    highest.set(aggregate, Math.max(before, sequence))
    return sequence < before
  })
}

/** I3: order within aggregates, overall as it was committed, and few steps back. */
export function checkOrder({ deliveries, witnessed, order, interruptions }: OrderFacts): Violation[] {
  const label = ({ aggregate, sequence, id }: Delivery) => `${aggregate} #${sequence} (${id})`
  const violations = violationOf('I3', 'after a later event of its aggregate', outOfOrder(deliveries).map(label))
  if (witnessed !== undefined) violations.push(...checkPlaces(deliveries, witnessed))
  if (order === 'aggregate') return violations
  const overtaken = stepsBack(firstDeliveries(deliveries))
  violations.push(...violationOf('I3', 'after an event that committed later', overtaken.map(label)))
  const back = stepsBack(publishedDeliveries(deliveries))
  if (back.length > interruptions) {
    const what = `the sequence goes back ${back.length} times with ${interruptions} interruptions: ${back.slice(0, 5).map(label).join(', ')}`
    violations.push({ invariant: 'I3', what, count: back.length - interruptions })
  }
  return violations
}

/** The position that a message carries is the one that the independent slot saw. */
function checkPlaces(deliveries: readonly Delivery[], witnessed: readonly WitnessedRow[]): Violation[] {
  const places = new Map<string, Place>(witnessed.map((row) => [row.id, row]))
  const wrong = deliveries.filter((delivery) => {
    const place = places.get(delivery.id)
    return place !== undefined && comparePlaces(place, delivery) !== 0
  })
  return violationOf(
    'I3',
    'position differs from that of the independent slot',
    wrong.map(({ id, commitLsn, ordinal }) => `${id} ${formatLsn(commitLsn)}#${ordinal}`),
  )
}

/** Deliveries that lie below the one before them. */
function stepsBack(deliveries: readonly Delivery[]): Delivery[] {
  return deliveries.filter((delivery, n) => {
    const before = deliveries[n - 1]
    return before !== undefined && comparePlaces(delivery, before) < 0
  })
}
