export type LivenessDecision = 'ok' | 'probe' | 'check-walsender' | 'dead'

/** What is known of a replication connection. Times are milliseconds of a monotonic clock. */
export interface LivenessFacts {
  readonly now: number
  /** How long silence is normal: wal_sender_timeout, at most a minute. 0: wal_sender_timeout is off, and so are we. */
  readonly timeout: number
  /** Since when there has been silence *that counts*: the last bytes, or later, since we read (again) or woke up. */
  readonly quietSince: number
  readonly paused: boolean
  /** When a status update with a reply requested was last sent. */
  readonly probedAt: number | undefined
  /** What PostgreSQL last said through another connection of our walsender; undefined while not asked. */
  readonly walsender: { readonly state: 'asking' | 'alive' | 'gone' | 'unknown'; readonly at: number } | undefined
}

/**
 * What to do about silence. A walsender that decodes a large transaction may be silent for longer than any timeout, so
 * silence alone is no death: after an unanswered probe, PostgreSQL is asked over another connection.
 */
export function decideLiveness(facts: LivenessFacts): LivenessDecision {
  const { now, timeout, quietSince, paused, probedAt, walsender } = facts
  if (timeout === 0 || paused) return 'ok'
  const silence = now - quietSince
  if (silence < timeout / 2) return 'ok'
  if (probedAt === undefined || probedAt < quietSince || now - probedAt >= timeout) return 'probe'
  if (silence < timeout) return 'ok'
  if (walsender === undefined || walsender.at < quietSince) return 'check-walsender'
  switch (walsender.state) {
    case 'gone':
      return 'dead'
    case 'alive':
      return now - walsender.at < timeout / 2 ? 'ok' : 'check-walsender'
    case 'asking':
      return silence < timeout * 2 ? 'ok' : 'dead'
    case 'unknown':
      if (silence >= timeout * 2) return 'dead'
      return now - walsender.at < timeout / 4 ? 'ok' : 'check-walsender'
  }
}

/** True when our own timer came so late that the silence may be our doing: a blocked event loop, SIGSTOP, a VM pause. */
export function overslept(lastTickAt: number, now: number, tickInterval: number): boolean {
  return now - lastTickAt > tickInterval * 3 + 500
}
