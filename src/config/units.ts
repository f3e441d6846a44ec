/** Milliseconds a unit of duration. */
const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
/** Bytes a unit of size: decimal (kB, MB) and binary (KiB, MiB) as IEC 80000-13 has them. */
const sizeUnits = {
  B: 1,
  kB: 1000,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  TB: 1000 ** 4,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
} as const

/** How a duration is written; published in the JSON Schema as well. */
export const durationPattern = /^\d+(\.\d+)?(ms|s|m|h|d)?$/
/** How a size is written. */
export const sizePattern = /^\d+(\.\d+)?(B|[kK]B|[MGT]B|[KMGT]iB)?$/

/** `200ms`, `1.5s`, `24h`, or a number of milliseconds → milliseconds; undefined for anything else. */
export function parseDuration(value: string | number): number | undefined {
  return parseQuantity(value, durationPattern, durationUnits)
}

/** `32MiB`, `10MB`, or a number of bytes → bytes; undefined for anything else. */
export function parseSize(value: string | number): number | undefined {
  return parseQuantity(value, sizePattern, sizeUnits)
}

function parseQuantity(
  value: string | number,
  pattern: RegExp,
  units: Readonly<Record<string, number>>,
): number | undefined {
  const text = typeof value === 'string' ? value.trim() : String(value)
  if (!pattern.test(text)) return undefined
  const number = Number.parseFloat(text)
  const unit = text.replace(/^[\d.]+/, '')
  const amount = unit === '' ? number : number * units[unit]!
  return Number.isSafeInteger(amount) ? amount : undefined
}

/** Milliseconds in the largest unit that holds them whole: 90000 → `90s`, 3600000 → `1h`. */
export function formatDuration(milliseconds: number): string {
  return formatQuantity(
    milliseconds,
    { d: durationUnits.d, h: durationUnits.h, m: durationUnits.m, s: durationUnits.s },
    'ms',
  )
}

/** Bytes in the largest binary unit that holds them whole: 33554432 → `32MiB`. */
export function formatSize(bytes: number): string {
  const { TiB, GiB, MiB, KiB } = sizeUnits
  return formatQuantity(bytes, { TiB, GiB, MiB, KiB }, 'B')
}

function formatQuantity(amount: number, largestFirst: Readonly<Record<string, number>>, smallest: string): string {
  if (amount === 0) return '0'
  const unit = Object.entries(largestFirst).find(([, factor]) => amount % factor === 0)
  return unit === undefined ? `${amount}${smallest}` : `${amount / unit[1]}${unit[0]}`
}
