import { createRequire } from 'node:module'

/** The YAML parser, loaded when there is YAML: most deployments set everything by environment. */
export function loadYaml(): typeof import('yaml') {
  return createRequire(import.meta.url)('yaml')
}
