import { BridgeError } from '../../src/base/errors.ts'
import type { SeededRandom } from '../support/seeded-random.ts'

/** One thing that takes input from outside. */
export interface FuzzTarget {
  readonly name: string
  /** What it stands for in the table. */
  readonly about: string
  /** Share of the inputs of a run over all targets. */
  readonly weight: number
  start(): Promise<FuzzRun> | FuzzRun
}

export interface FuzzRun {
  /** Makes one case of some inputs from `random` and checks it. Throws when something is wrong. */
  runCase(random: SeededRandom, log: CaseLog): Promise<void> | void
  /** What has to hold after all cases. */
  stop?(): Promise<void> | void
}

/** What one case gave, and what became of each input. */
export class CaseLog {
  readonly inputs: Buffer[] = []
  accepted = 0
  readonly refused = new Map<string, number>()

  /** To be called before the input is given, so that it is known when the process hangs in it. */
  input(bytes: Buffer | string): void {
    this.inputs.push(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
  }

  accept(): void {
    this.accepted++
  }

  refuse(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1)
  }
}

/** Throws unless it holds; `what` says what should have been. */
export function mustHold(condition: boolean, what: string | (() => string)): asserts condition {
  if (!condition) throw new Error(typeof what === 'string' ? what : what())
}

/** The code of an error that may come out; any other error goes on up. */
export function allowedCode(error: unknown, codes: readonly string[]): string {
  if (error instanceof BridgeError && codes.includes(error.code)) return error.code
  throw new Error(`expected one of ${codes.join(', ')}`, { cause: error })
}
