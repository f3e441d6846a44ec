import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import type { Node } from 'yaml'
import { BridgeError } from '../base/errors.ts'
import { collectEntries, type Layer } from './entries.ts'
import { loadYaml, quietly, withoutCycle } from './yaml.ts'

const defaultFile = 'wal2rabbit.yaml'

/**
 * Reads the configuration file: the one given, which must be there, or `wal2rabbit.yaml` of the working directory, which
 * may be missing. Throws CONFIG_FILE_UNREADABLE.
 */
export async function readFileLayer(file: string | undefined, cwd: string): Promise<Layer> {
  const path = resolve(cwd, file ?? defaultFile)
  try {
    return parseFile(file ?? basename(path), await readFile(path, 'utf8'))
  } catch (error) {
    if (error instanceof BridgeError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (file === undefined && code === 'ENOENT') return { entries: [], problems: [] }
    throw new BridgeError('CONFIG_FILE_UNREADABLE', `cannot read the configuration file ${path} (${code ?? error})`, {
      cause: error,
    })
  }
}

/** Entries of a YAML (or JSON) text; `name` is what origins call it. */
export function parseFile(name: string, text: string): Layer {
  const layer: Layer = { entries: [], problems: [] }
  const { LineCounter, parseDocument } = loadYaml()
  const lines = new LineCounter()
  const document = parseDocument(text, { ...quietly, lineCounter: lines })
  for (const error of document.errors) {
    const line = lines.linePos(error.pos[0]).line
    layer.problems.push(notYaml(`${name}:${line}`, error.code))
  }
  if (layer.problems.length > 0) return layer
  const lineOf = (path: readonly PropertyKey[]): string => {
    const offset = offsetOf(document.contents, path)
    return offset === undefined ? name : `${name}:${lines.linePos(offset).line}`
  }
  let content: unknown
  try {
    content = withoutCycle(document.toJS())
  } catch {
    // An alias without its anchor, inside of it, or far too many of them; the message of the parser would quote the text.
    layer.problems.push(notYaml(name, 'BAD_ALIAS'))
    return layer
  }
  collectEntries('', content, lineOf, layer)
  return layer
}

function notYaml(origin: string, code: string) {
  return { key: 'the file', origin, expected: `expected valid YAML (${code})` }
}

/** Where the key (or list item) at `path` is written; the nearest one above it when it has no place of its own. */
function offsetOf(root: Node | null, path: readonly PropertyKey[]): number | undefined {
  const { isMap, isSeq } = loadYaml()
  let node: unknown = root
  let offset = root?.range?.[0]
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String((item.key as { value?: unknown } | null)?.value) === String(part))
      if (pair === undefined) break
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(part)]
      offset = (node as Node | undefined)?.range?.[0] ?? offset
    } else break
  }
  return offset
}
