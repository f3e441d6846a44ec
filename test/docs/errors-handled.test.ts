import { readdir, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'

const src = new URL('../../src/', import.meta.url)

async function sources(): Promise<{ name: string; lines: string[] }[]> {
  const names = (await readdir(src, { recursive: true })).filter((name) => name.endsWith('.ts'))
  return Promise.all(
    names.map(async (name) => ({ name, lines: (await readFile(new URL(name, src), 'utf8')).split('\n') })),
  )
}

/** The lines of the block that begins in `lines[index]`, by its indentation. */
function block(lines: readonly string[], index: number): string {
  const indent = /^ */.exec(lines[index] ?? '')![0]
  const end = lines.findIndex((line, n) => n > index && line.startsWith(`${indent}}`))
  return lines.slice(index + 1, end).join('\n')
}

test('whoever catches an error uses it, or says why it tells nothing', async () => {
  const silent: string[] = []
  let caught = 0
  for (const { name, lines } of await sources()) {
    lines.forEach((line, index) => {
      const binding = /\bcatch \((\w+)\) \{$/.exec(line)?.[1]
      const without = /\bcatch \{$/.test(line)
      const dropped = /\.catch\(\(\) => (undefined|\{\})\)/.test(line)
      if (binding === undefined && !without && !dropped) return
      caught++
      const text = block(lines, index)
      if (binding !== undefined && new RegExp(`\\b${binding}\\b`).test(text)) return
      const said = dropped
        ? `${line}\n${lines[index - 1]}\n${lines[index - 2]}`.includes('//')
        : text.trimStart().startsWith('//')
      if (!said) silent.push(`${name}:${index + 1} ${line.trim()}`)
    })
  }
  expect(caught).toBeGreaterThan(40)
  expect(silent).toEqual([])
})
