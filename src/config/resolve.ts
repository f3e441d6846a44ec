import type { z } from 'zod'
import { relationProblems } from './cross-checks.ts'
import type { Entry } from './entries.ts'
import { configKeys, configSections } from './keys.ts'
import { didYouMean } from './nearest.ts'
import { type Problem, showValue } from './problems.ts'
import { type Config, configSchema } from './schema.ts'

export interface Resolved {
  /** Undefined when there are problems. */
  readonly config: Config | undefined
  readonly problems: readonly Problem[]
  /** The entry that won, by key. */
  readonly winners: ReadonlyMap<string, Entry>
}

/** Merges the entries of all layers, the later ones winning key by key, and checks the result: pure. */
export function resolveConfig(entries: readonly Entry[]): Resolved {
  const winners = new Map(entries.map((entry) => [entry.path, entry]))
  const tree = treeOf(winners)
  const parsed = configSchema.safeParse(tree, { error: wording })
  if (!parsed.success) {
    return {
      config: undefined,
      problems: parsed.error.issues.flatMap(unfold).map((issue) => problemOf(issue, tree, winners)),
      winners,
    }
  }
  const problems = relationProblems(parsed.data, (path) => originOf(path, winners))
  return { config: problems.length === 0 ? parsed.data : undefined, problems, winners }
}

/** A value that is nearly one form of several (a map with one wrong name in it) is told what is wrong with that form. */
function unfold(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue]
  const inner = issue.errors.find((issues) =>
    issues.some((one) => one.path.length > 0 || one.code === 'unrecognized_keys'),
  )
  return (inner ?? []).length === 0 ? [issue] : inner!.map((one) => ({ ...one, path: [...issue.path, ...one.path] }))
}

type Tree = { [name: string]: unknown }

function treeOf(winners: ReadonlyMap<string, Entry>): Tree {
  const root: Tree = {}
  const at = (path: string): Tree => {
    if (path === '') return root
    const parent = at(path.slice(0, Math.max(0, path.lastIndexOf('.'))))
    const name = path.slice(path.lastIndexOf('.') + 1)
    parent[name] ??= {}
    return parent[name] as Tree
  }
  for (const path of configSections.keys()) at(path)
  for (const { path, value } of winners.values()) {
    at(path.slice(0, Math.max(0, path.lastIndexOf('.'))))[path.slice(path.lastIndexOf('.') + 1)] = value
  }
  return root
}

function originOf(path: string, winners: ReadonlyMap<string, Entry>, inside?: readonly PropertyKey[]): string {
  const entry = winners.get(path)
  if (entry !== undefined) return entry.origin(inside)
  return configKeys.get(path)?.writtenDefault === undefined ? 'not set' : 'default'
}

function problemOf(issue: z.core.$ZodIssue, tree: Tree, winners: ReadonlyMap<string, Entry>): Problem {
  const { keyPath, inside } = splitPath(issue.path)
  const key = configKeys.get(keyPath)
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const full = unknown === undefined ? issue.path : [...issue.path, unknown]
  const origin = originOf(keyPath, winners, unknown === undefined ? inside : [...inside, unknown])
  const value = unknown === undefined ? valueAt(tree, issue.path) : undefined
  const shown = showValue(value, key)
  const remedy = winners.has(keyPath) || key === undefined ? undefined : howToSet(keyPath)
  return {
    key: pathText(full),
    origin,
    expected: issue.message,
    ...(shown !== undefined && { shown }),
    ...(remedy !== undefined && { remedy }),
  }
}

function howToSet(path: string): string {
  const { env, secret, fallbackEnv } = configKeys.get(path)!
  const names = [
    env,
    ...(secret === undefined ? [] : [`${env}_FILE`]),
    ...(fallbackEnv === undefined ? [] : [fallbackEnv]),
  ]
  return `set ${names.join(', ')}, or ${path} in wal2rabbit.yaml`
}

/** Parts the path of an issue into that of a key and the way inside its value. */
function splitPath(path: readonly PropertyKey[]): { keyPath: string; inside: readonly PropertyKey[] } {
  for (let length = path.length; length > 0; length--) {
    const keyPath = path.slice(0, length).map(String).join('.')
    if (configKeys.has(keyPath)) return { keyPath, inside: path.slice(length) }
  }
  return { keyPath: path.map(String).join('.'), inside: [] }
}

/** `routes[0].type` */
function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  let value = tree
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = (value as Record<PropertyKey, unknown>)[part]
  }
  return value
}

/** The words of problems that no key has words of its own for: always what was expected. */
function wording(issue: z.core.$ZodRawIssue): string {
  if (issue.code === 'unrecognized_keys') {
    const shape = (issue.inst as { shape?: object } | undefined)?.shape ?? {}
    const candidates = Object.keys(shape)
    const remedy = didYouMean(issue.keys[0] ?? '', candidates)
    return `expected one of the keys ${candidates.join(', ')}${remedy === '' ? '' : `; ${remedy}`}`
  }
  if (issue.code === 'invalid_type') {
    const what = {
      object: 'a map of keys',
      record: 'a map',
      array: 'a list',
      string: 'a text',
      boolean: 'true or false',
    }
    return `expected ${what[issue.expected as keyof typeof what] ?? issue.expected}`
  }
  return 'expected another value'
}
