import { expect } from 'vitest'
import { type Lsn, parseLsn } from '../../src/base/lsn.ts'
import type { Collector, Delivery } from './collector.ts'
import type { WitnessedRow } from './witness.ts'
import type { Ledger } from './workload.ts'

/** Compares deliveries with what was written and with the independent slot: nothing lost, nothing uncommitted, in order. */
export function verifyDeliveries(collector: Collector, ledger: Ledger, witnessed: readonly WitnessedRow[]): void {
  const first = collector.firstDeliveries()
  const lost = [...ledger.committed.keys()].filter((id) => !collector.ids.has(id))
  expect(lost, 'committed and never delivered').toEqual([])
  const uncommitted = first.filter(({ id }) => ledger.rolledBack.has(id))
  expect(uncommitted, 'rolled back, yet delivered').toEqual([])
  const foreign = first.filter(({ id }) => !ledger.committed.has(id) && !ledger.unknown.has(id))
  expect(foreign, 'delivered, and nobody wrote it').toEqual([])
  // Joined, as a diff of a hundred thousand array items takes minutes to print.
  const order = (rows: readonly { id: string; commitLsn: string; ordinal: number }[]) =>
    rows.map(({ id, commitLsn, ordinal }) => `${id} ${commitLsn}#${ordinal}`)
  expect(firstDifference(order(first), order(witnessed)), 'order against the independent slot').toBeUndefined()
}

/** Bodies and headers of every delivery equal what was written. */
export function verifyContents(collector: Collector, ledger: Ledger): void {
  let wrong = 0
  for (const { id, body, routingKey, message } of collector.deliveries) {
    const row = ledger.committed.get(id) ?? ledger.unknown.get(id)!
    const {
      aggregate_type,
      aggregate_id,
      'wal-lsn': _l,
      'wal-ordinal': _o,
      'wal-committed-at': _c,
      // A quorum queue counts what it delivers again to a consumer whose acknowledgement was lost.
      'x-delivery-count': _d,
      ...own
    } = message.properties.headers ?? {}
    const same =
      body === row.payload &&
      routingKey === `order.${row.type}` &&
      message.properties.type === row.type &&
      message.properties.deliveryMode === 2 &&
      message.properties.contentType === 'application/json' &&
      message.properties.appId === 'wal2rabbit' &&
      aggregate_type === 'order' &&
      aggregate_id === row.aggregateId &&
      JSON.stringify(own, Object.keys(own).sort()) === JSON.stringify(row.headers, Object.keys(row.headers).sort())
    if (!same) wrong++
  }
  expect(wrong, 'deliveries that differ from what was written').toBe(0)
}

/** How many deliveries came more than once. */
export function countRepeats(collector: Collector): number {
  return collector.deliveries.length - collector.ids.size
}

/** Rows at or below the stored position that are in no queue: the stored LSN would be ahead of the broker. */
export function missingBelow(
  witnessed: readonly WitnessedRow[],
  delivered: ReadonlySet<string>,
  stored: { lsn: Lsn; partial: { commitLsn: Lsn; rows: number } | null },
): WitnessedRow[] {
  return witnessed.filter(({ id, commitLsn, ordinal }) => {
    const lsn = parseLsn(commitLsn)
    const { partial } = stored
    const covered = lsn < stored.lsn || (partial !== null && lsn === partial.commitLsn && ordinal < partial.rows)
    return covered && !delivered.has(id)
  })
}

function firstDifference(got: readonly string[], expected: readonly string[]): string | undefined {
  for (let n = 0; n < Math.max(got.length, expected.length); n++) {
    if (got[n] !== expected[n])
      return `at ${n}: got ${got[n]}, expected ${expected[n]} (${got.length} of ${expected.length})`
  }
  return undefined
}

export function positionOf(delivery: Delivery): { lsn: Lsn; ordinal: number } {
  return { lsn: parseLsn(delivery.commitLsn), ordinal: delivery.ordinal }
}
