import type { LedgerView, WitnessedRow } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

/** The two truths must agree: committed ⊆ witnessed ⊆ committed ∪ outcome unknown. Else the run proves nothing. */
export function checkOracle(ledger: LedgerView, witnessed: readonly WitnessedRow[]): Violation[] {
  const seen = new Set(witnessed.map(({ id }) => id))
  const unseen = [...ledger.committed.keys()].filter((id) => !seen.has(id))
  const unwritten = [...seen].filter((id) => !ledger.committed.has(id) && !ledger.unknown.has(id))
  return [
    ...violationOf('oracle', 'committed by a writer, unknown to the witness', unseen),
    ...violationOf('oracle', 'seen by the witness, committed by no writer', unwritten),
  ]
}
