/**
 * The candidate that a mistyped `word` most likely stands for, for a "did you mean"; undefined when none is near. The
 * same last part (`slot` for `source.slot`) and the same letters in another writing (`confirm_window`) count as near.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  const wanted = plain(word)
  for (const candidate of candidates) {
    const lastPart = plain(candidate.slice(candidate.lastIndexOf('.') + 1))
    const sameLast = lastPart === plain(word.slice(word.lastIndexOf('.') + 1))
    const whole = editDistance(wanted, plain(candidate))
    const distance = Math.min(whole, sameLast ? 1.5 : Number.POSITIVE_INFINITY, editDistance(wanted, lastPart) + 0.5)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return bestDistance <= Math.max(1.5, Math.min(4, wanted.length / 3)) ? best : undefined
}

/** ` Did you mean X?`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const match = nearest(word, candidates)
  return match === undefined ? '' : `did you mean ${match}?`
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}

/** Levenshtein distance in which two swapped neighbours count once. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      let cost = Math.min(previous[j]! + 1, row[j - 1]! + 1, substitution)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforePrevious[j - 2]! + 1)
      }
      row.push(cost)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.length]!
}
