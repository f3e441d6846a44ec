import { formatLsn, type Lsn } from '../../../src/base/lsn.ts'
import type { Violation } from './violation.ts'

/** What was seen of a bridge that should have halted. */
export interface HaltFacts {
  readonly expected: string
  readonly state: string
  readonly code: string | undefined
  readonly remedy: string | undefined
  /** HTTP status of the readiness page. */
  readonly readiness: number
  /** The slot when it had halted, and some time later; undefined where there is none. */
  readonly acknowledgedBefore: Lsn | undefined
  readonly acknowledgedAfter: Lsn | undefined
}

/** I9: halted with the documented code and a remedy, nothing acknowledged, the slot left alone. */
export function checkHalted(facts: HaltFacts): Violation[] {
  const { expected, state, code, remedy, readiness, acknowledgedBefore: before, acknowledgedAfter: after } = facts
  const wrong: string[] = []
  if (state !== 'halted') wrong.push(`the state is ${state} instead of halted`)
  if (code !== expected) wrong.push(`the reason is ${code} instead of ${expected}`)
  if (remedy === undefined || remedy === '') wrong.push('there is no remedy')
  if (readiness !== 503) wrong.push(`the readiness page answers ${readiness} instead of 503`)
  if (before !== after) wrong.push(`the slot moved from ${shown(before)} to ${shown(after)}`)
  return wrong.map((what) => ({ invariant: 'I9', what: `halt with ${expected}: ${what}`, count: 1 }))
}

function shown(lsn: Lsn | undefined): string {
  return lsn === undefined ? 'none' : formatLsn(lsn)
}
