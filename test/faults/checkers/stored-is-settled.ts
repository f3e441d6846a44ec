import { formatLsn, type Lsn } from '../../../src/base/lsn.ts'
import { isCovered, type StoredPosition, type WitnessedRow } from './history.ts'
import { type Violation, violationOf } from './violation.ts'

export interface HeldFacts {
  /** When it was looked: `kill 3`. */
  readonly when: string
  readonly stored: StoredPosition
  readonly acknowledged: Lsn
  readonly witnessed: readonly WitnessedRow[]
  /** Whether it is in the queue, was received from there, or is a dead letter. */
  readonly isHeld: (id: string) => boolean
}

/** I5: with the bridge down, everything at or below the stored and the acknowledged position is held. */
export function checkStoredIsSettled(facts: HeldFacts): Violation[] {
  const { when, stored, acknowledged } = facts
  return [
    ...violationOf('I5', `${when}: at or below the stored ${formatLsn(stored.lsn)}, and nowhere`, notHeld(facts)),
    ...violationOf(
      'I5',
      `${when}: at or below the acknowledged ${formatLsn(acknowledged)}, and nowhere`,
      notHeld({ ...facts, stored: { lsn: acknowledged, partial: null } }),
    ),
  ]
}

/** Ids of the rows that the stored position covers and that are nowhere. */
export function notHeld({ stored, witnessed, isHeld }: Pick<HeldFacts, 'stored' | 'witnessed' | 'isHeld'>): string[] {
  return witnessed.filter((row) => isCovered(row, stored) && !isHeld(row.id)).map(({ id }) => id)
}
