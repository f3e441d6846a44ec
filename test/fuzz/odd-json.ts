import type { SeededRandom } from '../support/seeded-random.ts'
import { mutateText, oddText, pick } from './mutation.ts'

const numbers = [
  '0',
  '-0',
  '1',
  '127',
  '128',
  '-128',
  '-129',
  '255',
  '32767',
  '32768',
  '-32769',
  '2147483647',
  '2147483648',
  '-2147483648',
  '-2147483649',
  '9007199254740991',
  '9007199254740992',
  '9007199254740993',
  '-9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '-9223372036854775808',
  '-9223372036854775809',
  '1e15',
  '1e16',
  '1125899906842624.5',
  '1.5',
  '-1.5e-7',
  '1e300',
  '1e308',
  '1.7976931348623157e308',
  '1e309',
  '5e-324',
  '1e400',
  '18446744073709551616',
  '0.1',
  '100000000000000000000000000000000',
] as const

const names = [
  'a',
  'n',
  'region',
  'traceparent',
  'correlation_id',
  'CC',
  'BCC',
  'x-death',
  'x-delay',
  'x-stream-offset',
  'x-opt-a',
  'x-mine',
  'wal-lsn',
  'wal-',
  'aggregate_type',
  'aggregate_id',
  '!',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'value',
  '',
  ' ',
  '0',
  'é'.repeat(127),
  'é'.repeat(128),
  'x'.repeat(255),
  'x'.repeat(256),
] as const

/** JSON, nearly always right and often at a limit: an object at the top, mostly. */
export function oddJson(random: SeededRandom): string {
  const kind = random.next()
  if (kind < 0.005) return nested(random, 10_000)
  if (kind < 0.05) return nested(random, random.between(1, 150))
  if (kind < 0.06) return `{"a": ${JSON.stringify('é'.repeat(random.between(30_000, 34_000)))}}`
  const text = kind < 0.9 ? object(random, 0) : value(random, 0)
  return random.chance(0.1) ? mutateText(random, text) : text
}

function object(random: SeededRandom, depth: number): string {
  const fields = Array.from({ length: random.between(0, depth === 0 ? 6 : 3) }, () => {
    const name = random.chance(0.8) ? pick(random, names) : oddText(random, 4)
    return `${JSON.stringify(name)}: ${value(random, depth + 1)}`
  })
  return `{${fields.join(', ')}}`
}

function value(random: SeededRandom, depth: number): string {
  switch (random.between(0, depth > 4 ? 3 : 6)) {
    case 0:
      return pick(random, ['null', 'true', 'false'])
    case 1:
    case 2:
      return pick(random, numbers)
    case 3:
      return random.chance(0.2) ? '"\\u0000\\ud83d\\ude00"' : JSON.stringify(oddText(random, 12))
    case 4:
    case 5:
      return object(random, depth)
    default:
      return `[${Array.from({ length: random.between(0, 4) }, () => value(random, depth + 1)).join(', ')}]`
  }
}

function nested(random: SeededRandom, levels: number): string {
  const inner = pick(random, ['1', '12345678901234567', '"x"'])
  return random.chance(0.5)
    ? `{"a": ${'['.repeat(levels)}${inner}${']'.repeat(levels)}}`
    : `${'{"a":'.repeat(levels)}${inner}${'}'.repeat(levels)}`
}
