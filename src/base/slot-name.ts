import { createHash } from 'node:crypto'

/** PostgreSQL's limit for the name of a slot. It cuts what is longer without a word, and what is left is another slot. */
export const slotName_length_max = 63

/** The name of a slot that belongs to `slot`: `<slot><suffix>`, or where that is too long a part of it and a hash of the whole. */
export function slotNameFor(slot: string, suffix: string): string {
  const name = `${slot}${suffix}`
  if (name.length <= slotName_length_max) return name
  const end = `_${createHash('sha256').update(slot).digest('hex').slice(0, 8)}${suffix}`
  return `${slot.slice(0, slotName_length_max - end.length)}${end}`
}
