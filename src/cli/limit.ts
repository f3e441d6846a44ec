import { InvalidArgumentError } from 'commander'

/** How many lines a list may have. Throws what commander reports as a wrong argument. */
export function parseLimit(text: string): number {
  const limit = Number(text)
  if (!/^\d+$/.test(text) || limit < 1 || limit > 100_000) {
    throw new InvalidArgumentError('expected a whole number from 1 to 100000')
  }
  return limit
}
