import { slotName_length_max } from '../base/slot-name.ts'

const stampLength = 14

/** What the names of a slot's anchors begin with. */
export function anchorPrefix(slot: string): string {
  return `${slot}_anchor_`
}

/**
 * `<slot>_anchor_20260131235959`: the name of an anchor slot says when it was made, in UTC, so that nothing else has to
 * remember it. Undefined when the slot's own name is too long for that.
 */
export function anchorName(slot: string, at: Date): string | undefined {
  const name = `${anchorPrefix(slot)}${at.toISOString().replaceAll(/\D/g, '').slice(0, stampLength)}`
  return name.length <= slotName_length_max ? name : undefined
}

/** When the anchor of that name was made; undefined for what is no anchor of this slot. */
export function anchorTime(slot: string, name: string): Date | undefined {
  if (!name.startsWith(anchorPrefix(slot))) return undefined
  const stamp = name.slice(anchorPrefix(slot).length)
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(stamp) ?? []
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(date.getTime()) ? undefined : date
}
