import { type Delivery, firstDeliveries, type LedgerView } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

/** I2: received ⊆ committed ∪ outcome unknown, and as it was written. */
export function checkNothingUncommitted(ledger: LedgerView, deliveries: readonly Delivery[]): Violation[] {
  const first = firstDeliveries(deliveries)
  const written = (id: string) => ledger.committed.get(id) ?? ledger.unknown.get(id)
  const aborted = first.filter(({ id }) => ledger.aborted.has(id))
  const foreign = first.filter(({ id }) => !ledger.aborted.has(id) && written(id) === undefined)
  const changed = deliveries.filter(({ id, digest }) => {
    const row = written(id)
    return row !== undefined && row.digest !== digest
  })
  const ids = (of: readonly Delivery[]) => of.map(({ id }) => id)
  return [
    ...violationOf('I2', 'rolled back, yet received', ids(aborted)),
    ...violationOf('I2', 'received, and nobody wrote it', ids(foreign)),
    ...violationOf('I2', 'received otherwise than it was written', ids(changed)),
  ]
}
