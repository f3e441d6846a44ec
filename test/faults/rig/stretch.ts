import { availableParallelism, loadavg } from 'node:os'

/**
 * A bound for a machine with nothing else to do, made longer on one that is busy: by the processes that wait for each
 * core. Only for times until something is back; what is measured goes into the table as it is.
 */
export function stretched(bound_ms: number): number {
  const waiting = (loadavg()[0] ?? 0) / availableParallelism()
  return Math.round(bound_ms * Math.max(1, waiting))
}
