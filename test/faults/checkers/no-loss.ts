import type { LedgerView } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

/** I1: what committed was received or is a dead letter. Ids. */
export function lostEvents(
  { committed }: Pick<LedgerView, 'committed'>,
  received: ReadonlySet<string>,
  deadLetters: ReadonlySet<string>,
): string[] {
  return [...committed.keys()].filter((id) => !received.has(id) && !deadLetters.has(id))
}

export function checkNoLoss(lost: readonly string[]): Violation[] {
  return violationOf('I1', 'committed, and neither received nor a dead letter', lost)
}
