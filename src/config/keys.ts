import { z } from 'zod'
import { type KeyFacts, keyFacts, sectionFacts, writtenDefault } from './fields.ts'
import { configSchema } from './schema.ts'

/** One key of the configuration, as the layers and the docs need it. */
export interface ConfigKey extends KeyFacts {
  /** `sink.confirmWindow.messages` */
  readonly path: string
  /** `WAL2RABBIT_SINK_CONFIRM_WINDOW_MESSAGES` */
  readonly env: string
  /** The default as one would write it, `30s`; undefined when there is none. */
  readonly writtenDefault: unknown
  readonly schema: z.core.$ZodType
}

/** A group of keys; `zero` is what writing 0 in its place stands for. */
export interface ConfigSection {
  readonly path: string
  readonly env: string
  readonly zero: Readonly<Record<string, unknown>> | undefined
}

const keys = new Map<string, ConfigKey>()
const sections = new Map<string, ConfigSection>()
collect(configSchema, [])

/** All keys by path, in the order of the schema. */
export const configKeys: ReadonlyMap<string, ConfigKey> = keys
/** All sections by path; the root is ''. */
export const configSections: ReadonlyMap<string, ConfigSection> = sections

function collect(schema: z.core.$ZodType, parts: readonly string[]): void {
  const path = parts.join('.')
  const facts = keyFacts.get(schema)
  if (facts !== undefined) {
    keys.set(path, { ...facts, path, env: envName(path), writtenDefault: writtenDefault(schema), schema })
    return
  }
  if (!(schema instanceof z.ZodObject))
    throw new TypeError(`configuration schema: ${path} is neither a key nor a section`)
  sections.set(path, { path, env: envName(path), zero: sectionFacts.get(schema)?.zero })
  for (const [name, child] of Object.entries(schema.shape)) collect(child, [...parts, name])
}

/** `sink.confirmWindow` → `WAL2RABBIT_SINK_CONFIRM_WINDOW` */
export function envName(path: string): string {
  return `WAL2RABBIT_${path.replaceAll(/[A-Z]/g, '_$&').replaceAll('.', '_').toUpperCase()}`
}
