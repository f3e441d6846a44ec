import { z } from 'zod'
import { durationPattern, formatDuration, formatSize, parseDuration, parseSize, sizePattern } from './units.ts'

/** What is known of a key besides its values: the one source of its docs, env handling and secrecy. */
export interface KeyFacts {
  readonly help: string
  /** What one writes: `duration`, `size`, `text`, `list`, … */
  readonly unit: string
  /** How the text of an environment variable or of --set is read: as it stands, or as YAML. */
  readonly form: 'text' | 'yaml'
  /** `url`: shown with its password masked; `plain`: never shown. Both may come from a file named in NAME_FILE. */
  readonly secret?: 'url' | 'plain'
  /** A variable of the platform that serves when no layer sets the key. */
  readonly fallbackEnv?: string
}

/** Facts of every key; a schema without facts is a section (or lies inside a key that is written as one value). */
export const keyFacts = z.registry<KeyFacts>()

/** Facts of sections that may be written as `0`, and what that stands for. */
export const sectionFacts = z.registry<{ readonly zero?: Readonly<Record<string, unknown>> }>()

/** Marks a schema as a key. Last call on it: zod makes a new schema with each further one. */
export function key<S extends z.ZodType>(schema: S, facts: KeyFacts): S {
  const described = schema.describe(facts.help)
  keyFacts.add(described, facts)
  return described
}

/** A group of keys. Unknown keys are refused by the layers, which know where they come from. */
export function section<S extends z.core.$ZodLooseShape>(shape: S, zero?: Readonly<Record<string, unknown>>) {
  return z.strictObject(shape).register(sectionFacts, zero === undefined ? {} : { zero })
}

interface Range {
  readonly min?: number
  /** Timers of Node overflow at 2³¹ ms (24.8 days) and would fire at once: a day is the most for anything on a timer. */
  readonly max?: number
  readonly zero?: boolean
}

const oneDay = 86_400_000

/** A duration, in milliseconds once resolved. */
export function durationValue({ min = 100, max = oneDay, zero = false }: Range = {}) {
  const expected = `expected a duration from ${formatDuration(min)} to ${formatDuration(max)}${zero ? ' (or 0)' : ''}, such as 200ms, 30s or 24h`
  return quantity(durationPattern, parseDuration, { min, max, zero }, expected)
}

/** A size, in bytes once resolved. */
export function sizeValue({ min = 1, max = Number.MAX_SAFE_INTEGER, zero = false }: Range = {}) {
  const most = max === Number.MAX_SAFE_INTEGER ? '' : ` to ${formatSize(max)}`
  const expected = `expected a size from ${formatSize(min)}${most}${zero ? ' (or 0)' : ''}, such as 10MB, 32MiB or 1GiB`
  return quantity(sizePattern, parseSize, { min, max, zero }, expected)
}

function quantity(
  pattern: RegExp,
  parse: (value: string | number) => number | undefined,
  range: Required<Range>,
  expected: string,
) {
  return z.union([z.number(), z.string().regex(pattern, expected)], { error: expected }).transform((value, context) => {
    const amount = parse(value)
    const fits = amount !== undefined && amount >= range.min && amount <= range.max
    if (fits || (range.zero && amount === 0)) return amount!
    context.issues.push({ code: 'custom', message: expected, input: value })
    return z.NEVER
  })
}

/** A whole number from `min` to `max`. */
export function countValue(min: number, max: number) {
  const expected = `expected a whole number from ${min} to ${max}`
  return z.int(expected).min(min, expected).max(max, expected)
}

/** One of some words. */
export function wordValue<const W extends readonly [string, ...string[]]>(words: W) {
  return z.enum(words, { error: `expected ${listOr(words)}` })
}

/** A text of 1 to `max` bytes: an AMQP short string holds 255, a PostgreSQL name 63. */
export function textValue(max: number, what: string) {
  const expected = `expected ${what}, 1 to ${max} bytes`
  return z
    .string({ error: expected })
    .min(1, expected)
    .refine((text) => Buffer.byteLength(text) <= max, expected)
}

export function flagValue() {
  return z.boolean({ error: 'expected true or false' })
}

export function listOr(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

/** The default of a key as it would be written (`30s`); undefined when there is none. */
export function writtenDefault(schema: z.core.$ZodType): unknown {
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined
}
