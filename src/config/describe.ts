import { z } from 'zod'
import { sectionFacts } from './fields.ts'
import { type ConfigKey, configKeys } from './keys.ts'
import { configSchema } from './schema.ts'

const introduction = `# Configuration

<!-- Made from src/config/schema.ts by "npm run docs". Do not edit: a test compares. -->

Layers, later ones win, key by key: the default, \`DATABASE_URL\` and \`AMQP_URL\`, the file, the environment, flags.

- **File**: \`wal2rabbit.yaml\` in the working directory, or \`--config FILE\`. YAML or JSON; \`sink.heartbeat\` is \`heartbeat\`
  under \`sink\`. [configuration.schema.json](configuration.schema.json) is its JSON Schema: editors complete and check with it.
- **Environment**: the variable in the table. Lists and maps are written as YAML or JSON. A variable that is set to nothing
  counts as not set.
- **Flags**: \`--set key=value\` for any key, and \`--slot\`, \`--table\`, \`--log-level\`. A password is refused there: \`ps\`
  shows it to everybody.
- **Secrets** (marked so) may also come from a file: \`WAL2RABBIT_SOURCE_URL_FILE=/run/secrets/source-url\`. One newline at its
  end is cut off. Urls are read anew for each connection, so a rotated password needs no restart.

All mistakes are reported at once, each with the key, where it was set, and what was expected. Unknown keys and unknown
\`WAL2RABBIT_…\` variables are mistakes, too; those that Kubernetes makes for a service of that name are passed over.

A **duration** is \`200ms\`, \`30s\`, \`5m\`, \`24h\`, \`7d\`, or a number of milliseconds. A **size** is \`10MB\` (decimal), \`32MiB\`
(binary), or a number of bytes.
`

/** docs/configuration.md: every key with its variable, default, unit and help. */
export function describeConfig(): string {
  const keys = [...configKeys.values()]
  const sections = [...new Set(keys.map(sectionOf))]
  const tables = sections.map((name) => `## ${name}\n\n${keyTable(keys.filter((key) => sectionOf(key) === name))}`)
  return `${introduction}\n${tables.join('\n\n')}\n`
}

function sectionOf(key: ConfigKey): string {
  return key.path.split('.')[0]!
}

function keyTable(keys: readonly ConfigKey[]): string {
  const rows = keys.map((key) => {
    const secret = key.secret === undefined ? '' : ' (secret)'
    const fallback = key.fallbackEnv === undefined ? '' : `, else \`${key.fallbackEnv}\``
    return [`\`${key.path}\`${secret}`, `\`${key.env}\`${fallback}`, showDefault(key), key.unit, key.help]
  })
  const lines = [['key', 'variable', 'default', 'unit', 'what it does'], ...rows]
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const rule = widths.map((width) => '-'.repeat(width))
  const padded = [lines[0]!, rule, ...rows].map((line) => line.map((cell, column) => cell.padEnd(widths[column]!)))
  return padded.map((line) => `| ${line.join(' | ')} |`).join('\n')
}

function showDefault(key: ConfigKey): string {
  if (key.writtenDefault === undefined) return key.path.endsWith('.url') ? 'required' : ''
  const text = typeof key.writtenDefault === 'string' ? key.writtenDefault : JSON.stringify(key.writtenDefault)
  return `\`${text}\``
}

/** The JSON Schema (draft 2020-12) of the file. Nothing is required in it: other layers may give what it lacks. */
export function configJsonSchema(): object {
  const schema = z.toJSONSchema(configSchema, {
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      const facts = sectionFacts.get(zodSchema)
      if (facts === undefined) return
      delete jsonSchema.required
      if (facts.zero === undefined) return
      const { ...whole } = jsonSchema
      for (const name of Object.keys(jsonSchema)) delete jsonSchema[name]
      jsonSchema.anyOf = [{ const: 0, description: 'off' }, whole]
    },
  })
  return { ...schema, title: 'wal2rabbit configuration' }
}

/** JSON as the formatter of this repository writes it: lists of plain values on one line where they fit. */
export function formatJson(value: unknown): string {
  const text = JSON.stringify(value, undefined, 2)
  return `${text.replaceAll(/\[\n\s+([^[\]{}]*?)\n\s+\]/g, (whole, items: string) => {
    const line = `[${items.split(/\n\s*/).join(' ')}]`
    return line.length <= 100 ? line : whole
  })}\n`
}
