import { createRequire } from 'node:module'

/** The YAML parser, loaded when there is YAML: most deployments set everything by environment. */
export function loadYaml(): typeof import('yaml') {
  return createRequire(import.meta.url)('yaml')
}

/** Options of the parser: its "pretty" errors and its warnings quote the text, which may hold a password. */
export const quietly = { prettyErrors: false, logLevel: 'error' } as const

/** An alias inside of its own anchor makes a value without end. Throws a TypeError for such a one, else returns it. */
export function withoutCycle(value: unknown): unknown {
  JSON.stringify(value)
  return value
}
