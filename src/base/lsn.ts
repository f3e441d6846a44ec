/**
 * A position in PostgreSQL's write-ahead log: a 64-bit byte offset, held as a bigint so that it is compared as an
 * integer and never as text.
 * Source: https://www.postgresql.org/docs/current/datatype-pg-lsn.html
 */
export type Lsn = bigint

/** The invalid LSN `0/0`: PostgreSQL's word for "no position". */
export const noLsn: Lsn = 0n

const lsnPattern = /^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/

/** Reads `16/B374D848`. Throws a RangeError for anything else. */
export function parseLsn(text: string): Lsn {
  if (!lsnPattern.test(text))
    throw new RangeError(`not an LSN: ${JSON.stringify(text)} (expected the form 16/B374D848)`)
  const slash = text.indexOf('/')
  return (BigInt(`0x${text.slice(0, slash)}`) << 32n) | BigInt(`0x${text.slice(slash + 1)}`)
}

/** Writes the form PostgreSQL prints: upper-case hexadecimal halves without leading zeros, `16/B374D848`. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b
}
