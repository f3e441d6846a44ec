import { configKeys, configSections } from './keys.ts'
import { didYouMean } from './nearest.ts'
import type { Problem } from './problems.ts'

/** The value that one layer gives to one key. */
export interface Entry {
  readonly path: string
  readonly value: unknown
  /** Where it comes from, `wal2rabbit.yaml:12`; with the path inside the value for keys written as a list or a map. */
  readonly origin: (inside?: readonly PropertyKey[]) => string
  /** The file that a `…_FILE` variable named, to be read again on each reconnect. */
  readonly secretFile?: string
}

/** What a layer found. */
export interface Layer {
  readonly entries: Entry[]
  readonly problems: Problem[]
}

/**
 * Takes a value given at `path` apart into entries, one a key, and problems: unknown keys, and a single value where a
 * section was expected. `originOf` tells the origin of a path below. Null means "not set", as an empty YAML key does.
 */
export function collectEntries(
  path: string,
  value: unknown,
  originOf: (path: PropertyKey[]) => string,
  layer: Layer,
): void {
  if (value === null || value === undefined) return
  const parts = path === '' ? [] : path.split('.')
  if (configKeys.has(path)) {
    layer.entries.push({ path, value, origin: (inside = []) => originOf([...parts, ...inside]) })
    return
  }
  const section = configSections.get(path)
  if (section === undefined) {
    layer.problems.push(unknownKey(path, originOf(parts)))
    return
  }
  const given = value === 0 && section.zero !== undefined ? section.zero : value
  if (typeof given !== 'object' || Array.isArray(given)) {
    const zero = section.zero === undefined ? '' : ', or 0'
    const expected = `expected a map of keys (${childrenOf(path).join(', ')})${zero}`
    layer.problems.push({ key: path === '' ? 'the file' : path, origin: originOf(parts), expected })
    return
  }
  for (const [name, child] of Object.entries(given as object)) {
    // A dot in a name could otherwise reach a key of another section.
    if (name.includes('.')) layer.problems.push(unknownKey([...parts, name].join('.'), originOf([...parts, name])))
    else collectEntries([...parts, name].join('.'), child, originOf, layer)
  }
}

/** Its value is never shown: it may be a secret under a wrong name. */
export function unknownKey(path: string, origin: string): Problem {
  const remedy = didYouMean(
    path,
    [...configKeys.keys(), ...configSections.keys()].filter((known) => known !== ''),
  )
  return { key: path, origin, expected: 'expected a known key', remedy }
}

function childrenOf(path: string): string[] {
  const prefix = path === '' ? '' : `${path}.`
  const below = [...configKeys.keys()].filter((known) => known.startsWith(prefix))
  return [...new Set(below.map((known) => known.slice(prefix.length).split('.')[0]!))]
}
