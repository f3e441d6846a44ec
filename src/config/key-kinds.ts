import type { z } from 'zod'
import { countValue, durationValue, key, sizeValue, textValue, wordValue } from './fields.ts'
import type { UrlProblem } from './urls.ts'

/** Milliseconds. */
export const minute = 60_000
export const decade = 3650 * 24 * 60 * minute

/** Kinds of keys; `written` is the default as one would write it, and the range is in milliseconds or bytes. */
export const duration = (written: string, help: string, range?: Parameters<typeof durationValue>[0]) =>
  key(durationValue(range).prefault(written), { help, unit: 'duration', form: 'yaml' })
export const size = (written: string, help: string, range?: Parameters<typeof sizeValue>[0]) =>
  key(sizeValue(range).prefault(written), { help, unit: 'size', form: 'yaml' })
export const count = (written: number, help: string, min: number, max: number) =>
  key(countValue(min, max).prefault(written), { help, unit: 'number', form: 'yaml' })
export const word = <const W extends readonly [string, ...string[]]>(words: W, written: W[number], help: string) =>
  key(wordValue(words).prefault(written as never), { help, unit: words.join(' \\| '), form: 'text' })
export const path = (help: string) =>
  key(textValue(4096, 'the path of a file').optional(), { help, unit: 'path', form: 'text' })

/** Reports what is wrong with a url as an issue of the schema. */
export const addUrlIssue = (problem: UrlProblem | undefined, context: z.core.$RefinementCtx): void => {
  if (problem === undefined) return
  const remedy = problem.remedy === undefined ? '' : `; ${problem.remedy}`
  context.addIssue({ code: 'custom', message: `${problem.expected}${remedy}` })
}
