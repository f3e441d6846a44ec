import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url)
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(new URL('docs/', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** As GitHub makes it: lower case, spaces to hyphens, other punctuation dropped. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')
}

function anchorsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8').replace(/^```[\s\S]*?^```/gm, '')
  return [...text.matchAll(/^#+ (.*)$/gm)].map((match) => anchorOf(match[1]!))
}

/** Why the link leads nowhere; undefined when it does. */
function problemOf(page: string, target: string): string | undefined {
  if (/^https?:/.test(target)) return undefined
  const [path = '', anchor] = target.split('#')
  const file = fileURLToPath(new URL(path === '' ? page : path, path === '' ? root : new URL(page, root)))
  if (!existsSync(file)) return `${page}: no file ${target}`
  if (anchor !== undefined && !anchorsOf(file).includes(anchor)) return `${page}: no heading ${target}`
  return undefined
}

test.each(pages)('every link of %s to a file or a heading of the repository leads somewhere', (page) => {
  const text = readFileSync(new URL(page, root), 'utf8')
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!)
  expect(targets.map((target) => problemOf(page, target)).filter((problem) => problem !== undefined)).toEqual([])
})
