import { hash } from 'node:crypto'

/** Longest pair of texts that is held in memory as it is. */
const plainKey_length_max = 128

/**
 * What stands for an event id in an index, as sql/002_dead_letters.sql says: the SHA-256 in hexadecimal, or '' for none.
 */
export function eventKey(eventId: string | null): string {
  return eventId === null || eventId === '' ? '' : sha256(eventId)
}

/** What stands for an aggregate in an index; null when the row does not name both type and id. */
export function aggregateKey(aggregateType: string | null, aggregateId: string | null): string | null {
  if (!isNamed(aggregateType) || !isNamed(aggregateId)) return null
  return sha256(`${Buffer.byteLength(aggregateType)}:${aggregateType}${aggregateId}`)
}

/** The same for a set in memory: short, and without a hash where the texts are short themselves. */
export function memoryKey(aggregateType: string | null, aggregateId: string | null): string | null {
  if (!isNamed(aggregateType) || !isNamed(aggregateId)) return null
  if (aggregateType.length + aggregateId.length > plainKey_length_max) return aggregateKey(aggregateType, aggregateId)
  return `${aggregateType}\0${aggregateId}` // NUL cannot occur in a PostgreSQL text
}

function isNamed(text: string | null): text is string {
  return text !== null && text !== ''
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex')
}
