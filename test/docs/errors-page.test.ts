import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { errorTable } from '../../src/base/errors.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const errorsPage = read('docs/errors.md')
const sources = readdirSync(new URL('src/', root), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: read(`src/${name}`) }))
const rows = (errorsPage.match(/^\| `[A-Z_]+` \|.*$/gm) ?? []).map(cellsOf)

/** The cells of a row of a Markdown table; `\|` does not separate. */
function cellsOf(line: string): string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim())
}

function headingsOf(page: string): string[] {
  return (read(page).match(/^#+ .*$/gm) ?? []).map((line) => line.replace(/^#+ /, '').toLowerCase())
}

test('docs/errors.md has every code with its action and remedy, and no other', () => {
  const inRunbook = new Set(['halt', 'halt-retry', 'bug', 'dead-letter'])
  const expected = Object.entries(errorTable).map(([code, { action, remedy }]) => [
    `\`${code}\``,
    inRunbook.has(action) ? `[\`${action}\`](runbook.md#${code.toLowerCase()})` : `\`${action}\``,
    remedy.replaceAll('|', '\\|'),
  ])
  expect(rows.map(([code, action, , remedy]) => [code, action, remedy]).sort()).toEqual(expected.sort())
})

test('docs/errors.md gives the cause of every code', () => {
  expect(rows.filter(([, , cause]) => !/^.{10,}\.$/.test(cause ?? ''))).toEqual([])
})

test('docs/errors.md explains every action that a code has, and no other', () => {
  const explained = [...errorsPage.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1])
  const used = new Set(Object.values(errorTable).map(({ action }) => action))
  expect(explained.sort()).toEqual([...used].sort())
})

test('every code is raised somewhere', () => {
  const text = sources
    .map((file) => (file.name === 'base/errors.ts' ? file.text.slice(file.text.indexOf('export class')) : file.text))
    .join('\n')
  expect(Object.keys(errorTable).filter((code) => !text.includes(`'${code}'`))).toEqual([])
})

test('the documents name only codes that exist', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'sql/roles.sql', 'deploy/alerts.yml']
  const docs = readdirSync(new URL('docs/', root)).filter((name) => name.endsWith('.md'))
  const prefixes = new Set(Object.keys(errorTable).map((code) => code.slice(0, code.indexOf('_') + 1)))
  const named = [...pages, ...docs.map((name) => `docs/${name}`)].flatMap((page) =>
    [...read(page).matchAll(/(?<![A-Z_])[A-Z]+_[A-Z_]*[A-Z]\b/g)].map(([code]) => ({ page, code })),
  )
  const errorCodes = named.filter(({ code }) => prefixes.has(code.slice(0, code.indexOf('_') + 1)))
  expect(errorCodes.length).toBeGreaterThan(50)
  expect(errorCodes.filter(({ code }) => !(code in errorTable))).toEqual([])
})

test('every section of a document that the program refers to is there', () => {
  const referred = sources.flatMap(({ text }) =>
    [...text.matchAll(/see (?:"([^"]+)"|([A-Z_]+)) in (docs\/[a-z]+\.md)/g)].map((match) => ({
      title: (match[1] ?? match[2]!).toLowerCase(),
      page: match[3]!,
    })),
  )
  expect(referred.length).toBeGreaterThan(5)
  expect(referred.filter(({ title, page }) => !headingsOf(page).includes(title))).toEqual([])
})
