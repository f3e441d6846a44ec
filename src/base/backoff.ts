/** Exponential back-off with full jitter on the upper half: never below half of the step, never above `max_ms`. */
export interface BackoffPolicy {
  readonly initialDelay: number // milliseconds
  readonly maxDelay: number // milliseconds
}

/**
 * The delay in milliseconds before attempt `attempt` (1 = the first retry): initialDelay doubled each time, capped at
 * maxDelay, then spread over [50 %, 100 %] so that a fleet does not come back in step.
 */
export function backoffDelay(policy: BackoffPolicy, attempt: number, random: () => number = Math.random): number {
  const step = Math.min(policy.maxDelay, policy.initialDelay * 2 ** Math.min(attempt - 1, 30))
  return Math.round(step * (0.5 + random() / 2))
}
