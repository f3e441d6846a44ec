import type { SeededRandom } from '../support/seeded-random.ts'

const extremes = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff] as const

/** Bytes of no meaning. */
export function noise(random: SeededRandom, length_max: number): Buffer {
  return Buffer.from(Array.from({ length: random.between(0, length_max) }, () => random.between(0, 255)))
}

export function pick<T>(random: SeededRandom, values: readonly [T, ...T[]] | readonly T[]): T {
  const value = values[random.between(0, values.length - 1)]
  if (value === undefined) throw new RangeError('nothing to pick from')
  return value
}

/** `bytes` with one to three mistakes in it; `others` are what parts of other inputs are taken from. */
export function mutate(random: SeededRandom, bytes: Buffer, others: readonly Buffer[]): Buffer {
  let mutated = Buffer.from(bytes)
  for (let left = random.between(1, 3); left > 0; left--) mutated = mutateOnce(random, mutated, others)
  return mutated
}

function mutateOnce(random: SeededRandom, bytes: Buffer, others: readonly Buffer[]): Buffer<ArrayBuffer> {
  const at = random.between(0, bytes.length)
  const start = bytes.subarray(0, at)
  const rest = bytes.subarray(at)
  switch (random.between(0, 7)) {
    case 0: // a bit
      return patched(bytes, at, (copy) => {
        copy[at] = copy[at]! ^ (1 << random.between(0, 7))
      })
    case 1: // a byte
      return patched(bytes, at, (copy) => {
        copy[at] = random.between(0, 255)
      })
    case 2: // cut short
      return Buffer.from(start)
    case 3: // longer
      return Buffer.concat([bytes, noise(random, 16)])
    case 4: // something in between
      return Buffer.concat([start, noise(random, 8), rest])
    case 5: // something left out
      return Buffer.concat([start, rest.subarray(random.between(0, 8))])
    case 6: {
      // the end of another
      const other = others.length === 0 ? bytes : pick(random, others)
      return Buffer.concat([start, other.subarray(random.between(0, other.length))])
    }
    default: // a length that is extreme
      return patched(bytes, at + 3, (copy) => {
        copy.writeUInt32BE(pick(random, extremes), at)
      })
  }
}

/** A changed copy; unchanged when `last`, the last byte to be changed, is behind the end. */
function patched(bytes: Buffer, last: number, change: (copy: Buffer) => void): Buffer<ArrayBuffer> {
  const copy = Buffer.from(bytes)
  if (last < copy.length) change(copy)
  return copy
}

const odd = [
  '',
  ' ',
  '\0',
  '\n',
  '"',
  "'",
  '\\',
  '{',
  '}',
  '[',
  ']',
  ':',
  ': ',
  ',',
  '#',
  '&a',
  '*a',
  '!!',
  '|',
  '-',
  '- ',
  '%',
  '=',
  '@',
  '//',
  '..',
  '/',
  '?',
  'null',
  'true',
  '~',
  '0',
  '-1',
  '1e999',
  'NaN',
  '99999999999999999999',
  '0x10',
  '__proto__',
  'constructor',
  'toString',
  'é',
  '😀',
  '\ud800',
  '\u202e',
  '\u0000',
  '<<',
  '$x',
  '--',
  '--set',
  'a'.repeat(300),
  '{'.repeat(50),
  '['.repeat(2000),
  '\r\n',
  '\u2028',
  '1h',
  '10GiB',
  'postgres://',
  'amqp://h/%2f',
] as const

/** A text with one to three mistakes in it: odd pieces put in, parts left out, repeated or swapped. */
export function mutateText(random: SeededRandom, text: string): string {
  let mutated = text
  for (let left = random.between(1, 3); left > 0; left--) {
    const from = random.between(0, mutated.length)
    const to = Math.min(mutated.length, from + random.between(0, 12))
    const part = mutated.slice(from, to)
    const put = pick(random, [pick(random, odd), '', part + part, [...part].reverse().join(''), oddText(random, 6)])
    mutated = mutated.slice(0, from) + put + mutated.slice(random.chance(0.5) ? to : from)
  }
  return mutated
}

/** Any characters: control, ASCII, Latin, CJK, halves of surrogate pairs, emoji. */
export function oddText(random: SeededRandom, length_max: number): string {
  const ranges = [
    [0, 31],
    [32, 126],
    [127, 0x24f],
    [0x4e00, 0x4eff],
    [0xd800, 0xdfff],
    [0xfff0, 0xffff],
    [0x1f600, 0x1f64f],
  ] as const
  const characters = Array.from({ length: random.between(0, length_max) }, () => {
    if (random.chance(0.1)) return pick(random, odd)
    const [low, high] = pick(random, ranges)
    return String.fromCodePoint(random.between(low, high))
  })
  return characters.join('')
}
