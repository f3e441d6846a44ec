import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { errorTable } from '../../src/base/errors.ts'

const errorsPage = readDoc('errors.md')
const operationsPage = readDoc('operations.md')
const headings = operationsPage.match(/^#+ .*$/gm)!.map((line) => line.replace(/^#+ /, '').toLowerCase())
const haltsSection = operationsPage.slice(operationsPage.indexOf('\n## Halts'))

function readDoc(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
}

test('docs/errors.md has every code with its action and remedy, and no other', () => {
  const rows = errorsPage.match(/^\| `[A-Z_]+` \|.*$/gm) ?? []
  const expected = Object.entries(errorTable).map(
    ([code, { action, remedy }]) => `| \`${code}\` | \`${action}\` | ${remedy.replaceAll('|', '\\|')} |`,
  )
  expect([...rows].sort()).toEqual(expected.sort())
})

test('docs/errors.md explains every action that a code has, and no other', () => {
  const explained = [...errorsPage.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1])
  const used = new Set(Object.values(errorTable).map(({ action }) => action))
  expect(explained.sort()).toEqual([...used].sort())
})

test('docs/operations.md says under "Halts" what to do about every code that stops the stream', () => {
  const stops = new Set(['halt', 'halt-retry', 'dead-letter', 'bug'])
  const codes = Object.entries(errorTable).filter(([, { action }]) => stops.has(action))
  const missing = codes.map(([code]) => code).filter((code) => !haltsSection.includes(`\`${code}\``))
  expect(missing).toEqual([])
})

test('docs/operations.md names only codes that exist', () => {
  const named = [...operationsPage.matchAll(/`((?:[A-Z]+_)+[A-Z]+)`/g)].map((match) => match[1]!)
  const prefix =
    /^(CONFIG|SECRET|SOURCE|SLOT|SYSTEM|STORED|TIMELINE|PUBLICATION|TABLE|COLUMN|CHECKPOINT|SCHEMA|SINK|EVENT)_/
  expect(named.filter((code) => prefix.test(code) && !(code in errorTable))).toEqual([])
})

test('every section of docs/operations.md that a remedy refers to is there', () => {
  const remedies = Object.values(errorTable).map(({ remedy }): string => remedy)
  const referred = remedies.flatMap((remedy) => [...remedy.matchAll(/see "([^"]+)" in docs\/operations\.md/g)])
  expect(referred.length).toBeGreaterThan(0)
  expect(referred.map((match) => match[1]).filter((title) => !headings.includes(title!))).toEqual([])
})
