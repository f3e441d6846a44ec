import { BridgeError } from '../base/errors.ts'

/** AMQP's short string: one octet of length. Source: AMQP 0-9-1 specification, 4.2.5.3. */
export const shortStringSize_max = 255

/** A UTF-16 unit is at most three bytes of UTF-8, so short texts are decided without counting. */
export function tooLongAsShortString(text: string): boolean {
  return text.length * 3 > shortStringSize_max && Buffer.byteLength(text) > shortStringSize_max
}

/** Throws a BridgeError `EVENT_INVALID` naming the field and its length in bytes. */
export function checkShortString(field: string, text: string): void {
  if (!tooLongAsShortString(text)) return
  throw new BridgeError(
    'EVENT_INVALID',
    `${field} is ${Buffer.byteLength(text)} bytes long; AMQP carries at most ${shortStringSize_max}`,
  )
}

/** A name for a message: quoted, and cut where it is long. */
export function shownName(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name)
}
