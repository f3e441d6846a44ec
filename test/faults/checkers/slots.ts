import { anchorTime } from '../../../src/replay/anchor-name.ts'
import { anchors_max } from '../../../src/replay/plan-anchors.ts'
import { type Violation, violationOf } from './violation.ts'

export interface SlotFacts {
  /** The live slot. */
  readonly slot: string
  /** Every slot of its database. */
  readonly names: readonly string[]
  /** Those of the rig itself. */
  readonly others: readonly string[]
}

/** I10: the bridge leaves its slot and three anchors at most, and nothing else that holds WAL back. */
export function checkSlots({ slot, names, others }: SlotFacts): Violation[] {
  const anchors = names.filter((name) => anchorTime(slot, name) !== undefined)
  const stray = names.filter((name) => name !== slot && !others.includes(name) && !anchors.includes(name))
  return [
    ...violationOf('I10', 'a slot that nobody owns', stray),
    ...violationOf('I10', `more than ${anchors_max} anchors`, anchors.length > anchors_max ? anchors : []),
  ]
}
