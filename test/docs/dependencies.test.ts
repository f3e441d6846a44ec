import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url)
const page = readFileSync(new URL('docs/dependencies.md', root), 'utf8')
const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm)].map((match) => ({
  name: match[1]!,
  licence: match[2]!.trim(),
  reason: match[3]!.trim(),
}))

function dependencies(): string[] {
  const text = readFileSync(new URL('package.json', root), 'utf8')
  return Object.keys((JSON.parse(text) as { dependencies: Record<string, string> }).dependencies)
}

test('docs/dependencies.md gives a reason for every runtime dependency, and for no other package', () => {
  expect(rows.map((row) => row.name)).toEqual(dependencies().sort())
  expect(rows.filter((row) => row.reason === '')).toEqual([])
})

test('docs/dependencies.md has the licence that each package declares', () => {
  const declared = dependencies().map((name) => {
    const text = readFileSync(new URL(`node_modules/${name}/package.json`, root), 'utf8')
    return [name, (JSON.parse(text) as { license: string }).license]
  })
  expect(Object.fromEntries(rows.map((row) => [row.name, row.licence]))).toEqual(Object.fromEntries(declared))
})
