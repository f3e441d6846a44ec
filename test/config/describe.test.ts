import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { configJsonSchema, describeConfig, formatJson } from '../../src/config/describe.ts'
import { configKeys } from '../../src/config/keys.ts'

const docs = new URL('../../docs/', import.meta.url)

test('docs/configuration.md is what "npm run docs" makes', async () => {
  expect(await readFile(new URL('configuration.md', docs), 'utf8')).toBe(describeConfig())
})

test('docs/configuration.schema.json is what "npm run docs" makes', async () => {
  expect(await readFile(new URL('configuration.schema.json', docs), 'utf8')).toBe(formatJson(configJsonSchema()))
})

test('every key has help, a variable and a place in the JSON Schema', () => {
  const schema = configJsonSchema() as JsonSchema
  for (const key of configKeys.values()) {
    expect(key.help, key.path).not.toBe('')
    expect(describeConfig()).toContain(`\`${key.env}\``)
    expect(nodeAt(schema, key.path.split('.'))?.description, key.path).toBe(key.help)
  }
})

test('the JSON Schema requires nothing, as another layer may give what the file lacks', () => {
  const schema = configJsonSchema() as JsonSchema
  expect(schema.required).toBeUndefined()
  expect(schema.properties?.source?.required).toBeUndefined()
})

interface JsonSchema {
  readonly description?: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly anyOf?: readonly JsonSchema[]
}

function nodeAt(schema: JsonSchema, path: readonly string[]): JsonSchema | undefined {
  const [name, ...rest] = path
  if (name === undefined) return schema
  const properties = schema.properties ?? schema.anyOf?.find((form) => form.properties !== undefined)?.properties
  const child = properties?.[name]
  return child === undefined ? undefined : nodeAt(child, rest)
}
