/** Day, time of day, zone; offsets up to the ±15:59 that PostgreSQL knows. */
const timePattern = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+-](?:0\d|1[0-5]):?[0-5]\d)?)?$/

/**
 * Reads an ISO 8601 time, UTC unless it says otherwise, as a text that PostgreSQL takes for a timestamptz; undefined for
 * anything else. Only what PostgreSQL takes as well: of 2026-02-31 `Date` makes a day in March, and there is no year 0000.
 */
export function parseIsoTime(text: string): string | undefined {
  const [, day = '', time = '00:00', zone = 'Z'] = timePattern.exec(text) ?? []
  const read = new Date(`${day}T${time}Z`)
  const isReal = !Number.isNaN(read.getTime()) && read.toISOString().startsWith(`${day}T${time.slice(0, 5)}`)
  return isReal && !day.startsWith('0000') ? `${day}T${time}${zone}` : undefined
}

/**
 * The same as `2026-01-31T23:59:59.123456Z`, which sorts as text and is the form of commit times; undefined for what is
 * no ISO 8601 time.
 */
export function utcMicroseconds(text: string): string | undefined {
  const known = parseIsoTime(text)
  if (known === undefined) return undefined
  const [, day = '', time = '', zone = 'Z'] = timePattern.exec(known) ?? []
  const [whole = '', fraction = ''] = time.split('.')
  const hours = whole.length === 5 ? `${whole}:00` : whole
  const offset = zone === 'Z' || zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`
  const date = new Date(`${day}T${hours}${offset}`)
  return Number.isNaN(date.getTime()) ? undefined : `${date.toISOString().slice(0, 19)}.${fraction.padEnd(6, '0')}Z`
}
