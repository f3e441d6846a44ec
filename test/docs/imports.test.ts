import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { expect, test } from 'vitest'

interface Import {
  readonly from: string
  /** Path below src, or the name of a package. */
  readonly to: string
  readonly typeOnly: boolean
  readonly names: readonly string[]
}

const stages = ['source', 'routing', 'sink', 'checkpoint', 'replay', 'dead-letter', 'retention']
const edges = ['setup', 'config', 'admin', 'cli']
const contracts = ['Source', 'Routing', 'Sink', 'Checkpoint']

const roots = ['compose.ts', 'compose-sink.ts', 'compose-replay.ts', 'compose-backfill.ts']

const src = new URL('../../src/', import.meta.url)
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .map((name) => name.replaceAll('\\', '/'))
  .filter((name) => name.endsWith('.ts'))
const textOf = new Map(files.map((file) => [file, readFileSync(new URL(file, src), 'utf8')]))
const imports = files.flatMap((file) => importsOf(file, textOf.get(file)!))

/** The import and re-export statements of a file, and what it imports dynamically. */
function importsOf(file: string, text: string): Import[] {
  const resolve = (specifier: string) =>
    specifier.startsWith('.') ? posix.normalize(posix.join(posix.dirname(file), specifier)) : specifier
  const statements = [...text.matchAll(/^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s*'([^']+)'/gm)]
  const dynamic = [...text.matchAll(/(?:^import\s*|\bimport\(\s*)'([^']+)'/gm)]
  return [
    ...statements.map((match) => {
      const names = match[2]!
        .replace(/[{}]/g, ' ')
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== '')
      const typeOnly = match[1] !== undefined || (names.length > 0 && names.every((name) => name.startsWith('type ')))
      return { from: file, to: resolve(match[3]!), typeOnly, names }
    }),
    ...dynamic.map((match) => ({ from: file, to: resolve(match[1]!), typeOnly: false, names: [] })),
  ]
}

/** The first folder below src; the file itself where it lies in none. */
function roomOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path
}

function isOurs(path: string): boolean {
  return files.includes(path)
}

function shown(found: readonly Import[]): string[] {
  return found.map(({ from, to, typeOnly }) => `${from} imports ${typeOnly ? 'types of ' : ''}${to}`)
}

test('the scan sees imports of values and of types, re-exports and dynamic imports', () => {
  const text = [
    "import { a } from '../base/a.ts'",
    "import type { B } from './b.ts'",
    "import {\n  type C,\n  type D,\n} from '../sink/c.ts'",
    "import { e, type F } from 'package'",
    "export { g } from './g.ts'",
    "const h = await import('../h.ts')",
  ].join('\n')
  expect(shown(importsOf('source/x.ts', text))).toEqual([
    'source/x.ts imports base/a.ts',
    'source/x.ts imports types of source/b.ts',
    'source/x.ts imports types of sink/c.ts',
    'source/x.ts imports package',
    'source/x.ts imports source/g.ts',
    'source/x.ts imports h.ts',
  ])
  expect(imports.length).toBeGreaterThan(files.length)
})

test('every relative import leads to a file of src, named with its .ts', () => {
  expect(shown(imports.filter(({ to, from }) => to.includes('.ts') && !isOurs(to) && isOurs(from)))).toEqual([])
})

test('base imports nothing of src but base', () => {
  expect(
    shown(imports.filter(({ from, to }) => roomOf(from) === 'base' && isOurs(to) && roomOf(to) !== 'base')),
  ).toEqual([])
})

test('a stage imports base, and of another stage types only', () => {
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    if (!stages.includes(roomOf(from)) || !isOurs(to)) return false
    const room = roomOf(to)
    if (room === 'base' || room === roomOf(from)) return false
    return !(stages.includes(room) && typeOnly)
  })
  expect(shown(wrong)).toEqual([])
})

test('neither a stage nor the bridge nor the supervisor imports an edge', () => {
  const middle = [...stages, 'base', 'bridge.ts', 'ownership.ts', 'supervisor.ts']
  expect(shown(imports.filter(({ from, to }) => middle.includes(roomOf(from)) && edges.includes(roomOf(to))))).toEqual(
    [],
  )
})

test('the bridge and the supervisor import no package: bytes, SQL and AMQP have no place in them', () => {
  const orchestrators = ['bridge.ts', 'ownership.ts', 'supervisor.ts']
  expect(shown(imports.filter(({ from, to }) => orchestrators.includes(from) && !isOurs(to)))).toEqual([])
})

test('libraries for applications import base only', () => {
  const libraries = ['outbox', 'inbox']
  const wrong = imports.filter(
    ({ from, to }) => libraries.includes(roomOf(from)) && isOurs(to) && ![roomOf(from), 'base'].includes(roomOf(to)),
  )
  expect(shown(wrong)).toEqual([])
})

test('only the files compose*.ts construct the implementations of the stage contracts', () => {
  const pattern = new RegExp(`class (\\w+) implements (?:${contracts.join('|')})\\b`, 'g')
  const concrete = files.flatMap((file) =>
    [...textOf.get(file)!.matchAll(pattern)].map((match) => ({ file, name: match[1]! })),
  )
  expect(concrete.length).toBeGreaterThanOrEqual(contracts.length)
  const wrong = concrete.flatMap(({ file, name }) =>
    files
      .filter(
        (other) => !roots.includes(other) && other !== file && new RegExp(`\\bnew ${name}\\(`).test(textOf.get(other)!),
      )
      .map((other) => `${other} constructs ${name}`),
  )
  expect(wrong).toEqual([])
})

test('nothing but compose.ts and the edges imports the orchestrators', () => {
  const wrong = imports.filter(
    ({ from, to, typeOnly }) =>
      ['bridge.ts', 'supervisor.ts', 'compose.ts'].includes(to) &&
      !typeOnly &&
      !['compose.ts', 'index.ts', ...edges].includes(roomOf(from)),
  )
  expect(shown(wrong)).toEqual([])
})
