import { expect } from 'vitest'
import type { ErrorCode } from '../../src/base/errors.ts'

/** The password of every url that tests of this kind give: it may show up nowhere. */
export const canary = 'c4nary'

/** Neither the canary nor a stack trace, as text or inside of JSON. */
export function expectClean(text: string): void {
  expect(text).not.toContain(canary)
  expect(text, 'a stack trace').not.toMatch(/^\s+at |\\n\s+at |node:internal/m)
}

/** One error with one remedy on standard error, beside what the command says about its work. */
export function expectError(text: string, code: ErrorCode, says: RegExp): void {
  expect(text.match(/^error /gm)).toHaveLength(1)
  expect(text).toMatch(new RegExp(`^error ${code}: .+(\n {2}.+)*\nremedy: .+\n$`, 'm'))
  expect(text).toMatch(says)
}
