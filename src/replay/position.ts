import { BridgeError } from '../base/errors.ts'
import { utcMicroseconds } from '../base/iso-time.ts'
import { type Lsn, parseLsn } from '../base/lsn.ts'

/** What an operator writes for a place in the stream: P of `--from P` and `--to P`. */
export type Position =
  | { readonly kind: 'lsn'; readonly lsn: Lsn }
  /** ISO 8601 with microseconds in UTC: `2026-01-31T23:59:59.123456Z`. */
  | { readonly kind: 'time'; readonly time: string }
  | { readonly kind: 'event'; readonly id: string }
  | { readonly kind: 'mark'; readonly name: string }

/** A name begins with a letter and holds neither `/` nor `:`, so that it is none of the other forms. */
const markPattern = /^[A-Za-z][A-Za-z0-9._-]{0,99}$/

/** Reads P; `flag` is named in the error. Throws a BridgeError `USAGE`. */
export function parsePosition(text: string, flag: string): Position {
  if (text.startsWith('event:') && text.length > 'event:'.length)
    return { kind: 'event', id: text.slice('event:'.length) }
  if (/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/.test(text)) return { kind: 'lsn', lsn: parseLsn(text) }
  const time = utcMicroseconds(text)
  if (time !== undefined) return { kind: 'time', time }
  if (markPattern.test(text)) return { kind: 'mark', name: text }
  throw new BridgeError(
    'USAGE',
    `${flag} is ${JSON.stringify(text)}, expected an LSN (16/B374D848), an ISO 8601 time (2026-01-31T23:59:59Z), event:<id>, or the name of a mark`,
  )
}

/** Throws a BridgeError `USAGE` for a name that could be taken for another form of P. */
export function checkMarkName(name: string): void {
  if (markPattern.test(name)) return
  throw new BridgeError(
    'USAGE',
    `the name of the mark is ${JSON.stringify(name)}, expected a letter and then up to 99 of A-Z a-z 0-9 . _ -`,
  )
}
