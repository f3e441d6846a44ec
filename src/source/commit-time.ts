/** Seconds from the Unix epoch to PostgreSQL's, 2000-01-01T00:00:00Z. */
const postgresEpochSeconds = 946_684_800

export interface CommitTime {
  /** `2026-01-31T23:59:59.123456Z` */
  readonly text: string
  /** Whole seconds since the Unix epoch. */
  readonly seconds: number
}

let cachedSeconds = Number.NaN
let cachedPrefix = ''

/**
 * A commit time from its wire form: microseconds since 2000-01-01 as the two halves of a signed 64-bit integer. Exact
 * until the year 2285, where a double runs out of integers.
 */
export function commitTime(high: number, low: number): CommitTime {
  const microseconds = high * 4_294_967_296 + low
  const whole = Math.floor(microseconds / 1_000_000)
  const seconds = whole + postgresEpochSeconds
  // With one row a transaction this runs for each row, and a Date costs more than all the rest of Begin.
  if (seconds !== cachedSeconds) {
    cachedPrefix = new Date(seconds * 1000).toISOString().slice(0, -4)
    cachedSeconds = seconds
  }
  return { text: `${cachedPrefix}${String(microseconds - whole * 1_000_000).padStart(6, '0')}Z`, seconds }
}

const printed = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/

/** A commit time as PostgreSQL prints it in UTC: `2026-01-31 23:59:59.1234+00`. Undefined for any other form. */
export function parseCommitTime(text: string): CommitTime | undefined {
  const match = printed.exec(text)
  if (match === null) return undefined
  const second = `${match[1]}T${match[2]}`
  const seconds = Date.parse(`${second}Z`) / 1000
  return Number.isNaN(seconds) ? undefined : { text: `${second}.${(match[3] ?? '').padEnd(6, '0')}Z`, seconds }
}
