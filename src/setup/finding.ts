import type { BridgeError } from '../base/errors.ts'

/** One thing that `check` looked at. */
export interface CheckFinding {
  readonly name: string
  readonly ok: boolean
  /** A `problem` keeps the bridge from running, or loses events; a `warning` may do so one day. */
  readonly severity: 'problem' | 'warning'
  readonly detail: string
  /** Null when it is ok. */
  readonly remedy: string | null
}

export function good(name: string, detail: string): CheckFinding {
  return { name, ok: true, severity: 'problem', detail, remedy: null }
}

export function problem(name: string, error: Pick<BridgeError, 'message' | 'remedy'>): CheckFinding {
  return { name, ok: false, severity: 'problem', detail: error.message, remedy: error.remedy }
}

export function warning(name: string, detail: string, remedy: string): CheckFinding {
  return { name, ok: false, severity: 'warning', detail, remedy }
}
