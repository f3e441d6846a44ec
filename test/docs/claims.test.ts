import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { LatencyHistogram } from '../../src/admin/latency-histogram.ts'
import { createMetrics } from '../../src/admin/metrics.ts'
import { runProgram } from '../../src/cli/program.ts'
import { configKeys, configSections } from '../../src/config/keys.ts'
import { anchorName } from '../../src/replay/anchor-name.ts'
import { sampleStatus } from '../admin/sample-status.ts'
import { problemsOf } from '../config/fixture.ts'
import { contextOn } from '../support/cli-context.ts'

// What is not there must not be claimed: commands, flags, metrics and configuration that a document names.

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const namesIn = (folder: string) => readdirSync(new URL(folder, root)).map((name) => `${folder}${name}`)
const pages = ['README.md', ...namesIn('docs/'), ...namesIn('deploy/'), ...namesIn('sql/')].filter((path) =>
  /\.(md|yml|sql)$/.test(path),
)
const texts = pages.map((page) => ({ page, text: read(page) }))

async function helpOf(...args: string[]): Promise<string> {
  let out = ''
  const stream = { write: (text: string) => (out += text) }
  await runProgram([...args, '--help'], contextOn(stream))
  return out
}

/** What the help lists under "Commands:". */
async function commandsOf(...args: string[]): Promise<string[]> {
  const list = (await helpOf(...args)).split('\nCommands:\n')[1] ?? ''
  return [...list.matchAll(/^ {2}([a-z][a-z-]*) /gm)].map((match) => match[1]!).filter((name) => name !== 'help')
}

/** `wal2rabbit dead-letters list --reason EVENT_NACKED`: its words up to the first flag or value, and its flags. */
function callsIn(text: string): { call: string; words: string[]; flags: string[] }[] {
  const calls = text.matchAll(
    /(?:^ *|[`"*]|\$ )((?:wal2rabbit|node dist\/cli\/main\.js)[ \n]([a-z][a-z-]*(?: [a-z]+)?)(?:\\\n|[^`"\n#])*)/gm,
  )
  return [...calls].map((match) => ({
    call: match[1]!,
    words: match[2]!.split(' '),
    flags: match[1]!.match(/--[a-z-]+/g) ?? [],
  }))
}

test('every command and flag that a document names exists', async () => {
  const commands = await commandsOf()
  expect(commands).toContain('init')
  const groups = new Map<string, string[]>()
  for (const group of ['dead-letters', 'checkpoints']) groups.set(group, await commandsOf(group))
  expect(groups.get('dead-letters')).toContain('retry')
  expect(groups.get('checkpoints')).toEqual(['mark', 'unmark'])
  const wrong: string[] = []
  for (const { page, text } of texts) {
    for (const { call, words, flags } of callsIn(text)) {
      const group = groups.get(words[0]!)
      const known = commands.includes(words[0]!) && (!group || words[1] === undefined || group.includes(words[1]))
      const help = known ? await helpOf(...words.slice(0, group ? 2 : 1)) : ''
      if (!known || flags.some((flag) => !help.includes(`${flag} `))) wrong.push(`${page}: ${call}`)
    }
  }
  expect(wrong).toEqual([])
})

test('every metric that a document names is in the page /metrics', async () => {
  const metrics = createMetrics({ provider: () => sampleStatus(), confirmLatency: new LatencyHistogram() })
  const exposed = await metrics.expose()
  const named = texts.flatMap(({ page, text }) =>
    [...text.matchAll(/\bwal2rabbit_[a-z_]+\b(?!\\)/g)].map(([name]) => ({ page, name })),
  )
  expect(named.length).toBeGreaterThan(10)
  expect(named.filter(({ name }) => !new RegExp(`^${name}(_bucket)?[{ ]`, 'm').test(exposed))).toEqual([])
})

test('every key of the configuration that a document names exists', () => {
  const known = [...configKeys.keys(), ...configSections.keys()]
  const named = texts
    .filter(({ page }) => page.endsWith('.md'))
    .flatMap(({ page, text }) =>
      [
        ...text.matchAll(
          /`((?:source|sink|delivery|deadLetter|checkpoint|replay|outbox|admin|log|shutdown)\.(?!sql`)[a-zA-Z.]+)/g,
        ),
      ].map((match) => ({
        page,
        key: match[1]!,
      })),
    )
  expect(named.length).toBeGreaterThan(50)
  expect(named.filter(({ key }) => !known.some((path) => path === key || path.startsWith(`${key}.`)))).toEqual([])
})

test('each configuration that the README shows is accepted', async () => {
  const blocks = [...read('README.md').matchAll(/^( *)```yaml\n([\s\S]*?)```/gm)]
  expect(blocks.length).toBeGreaterThan(1)
  for (const [, indentation, yaml] of blocks) {
    expect(await problemsOf({ yaml: yaml!.replaceAll(new RegExp(`^${indentation}`, 'gm'), '') })).toEqual([])
  }
})

test('patterns of anchor names match anchors, and not the slot of another bridge', () => {
  const all = texts.map(({ text }) => text).join('\n')
  expect(all).not.toMatch(/LIKE '[^']*anchor/)
  expect(all).not.toMatch(/%\S*anchor/)
  const patterns = [...all.matchAll(/['`](\S*_anchor_\\d\S*)['`]/g)].map(([, pattern]) => new RegExp(pattern!))
  expect(patterns).toHaveLength(2)
  for (const pattern of patterns) {
    expect(anchorName('wal2rabbit', new Date())).toMatch(pattern)
    expect('wal2rabbit_anchor_eu').not.toMatch(pattern)
  }
})
