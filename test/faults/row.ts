import type { Violation } from './checkers/violation.ts'
import type { Expectation, FaultId } from './matrix.ts'
import type { Rig } from './rig/rig.ts'

/** What a row is run with. All that is random comes from the seed. */
export interface RowRun {
  readonly seed: number
  /** How often the fault is made. */
  readonly runs: number
  /** Whether it runs as part of npm test: shorter where it can be. */
  readonly quick: boolean
}

/** What one row came to. */
export interface Figures {
  readonly runs: number
  /** Committed events. */
  readonly events: number
  readonly lost: number
  readonly outOfOrder: number
  readonly repeated: number
  /** The longest time to recover, milliseconds; null where nothing had to recover. */
  readonly recovery_ms: number | null
  readonly violations: readonly Violation[]
  /** Measured beside it, for the table: `take-over 0.9 s median, 1.4 s worst`. */
  readonly note?: string
}

/** One fault: makes it, and checks what must be true afterwards. */
export interface Row {
  readonly id: FaultId
  readonly title: string
  readonly expect: Expectation
  /** Has a short form: part of WAL2RABBIT_TEST_LONG=1 npm test, and of npm run faults -- --quick. */
  readonly quick?: boolean
  /** The short form is part of every npm test: for what nothing else there breaks. */
  readonly everyTime?: boolean
  /** In the matrix; 1 when absent. */
  readonly runs?: number
  /** In the short form; 1 when absent. */
  readonly quickRuns?: number
  /** Seconds after which the row has failed; 300 when absent. */
  readonly timeout?: number
  /** What the row leaves unusable, so that the next one gets a new one. */
  readonly breaks?: readonly ('postgres' | 'rabbit')[]
  run(rig: Rig, options: RowRun): Promise<Figures>
}

/** Figures of a row that plays in several scenes. */
export function sumFigures(parts: readonly Figures[], note?: string): Figures {
  const sum = (of: (figures: Figures) => number) => parts.reduce((total, figures) => total + of(figures), 0)
  const recoveries = parts.flatMap(({ recovery_ms }) => recovery_ms ?? [])
  return {
    runs: sum(({ runs }) => runs),
    events: sum(({ events }) => events),
    lost: sum(({ lost }) => lost),
    outOfOrder: sum(({ outOfOrder }) => outOfOrder),
    repeated: sum(({ repeated }) => repeated),
    recovery_ms: recoveries.length === 0 ? null : Math.max(...recoveries),
    violations: parts.flatMap(({ violations }) => violations),
    ...(note !== undefined && { note }),
  }
}
