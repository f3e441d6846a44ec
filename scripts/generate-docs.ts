// Writes the documents that are made from code: docs/configuration.md and docs/configuration.schema.json.
import { writeFile } from 'node:fs/promises'
import { configJsonSchema, describeConfig, formatJson } from '../src/config/describe.ts'

const docs = new URL('../docs/', import.meta.url)
await writeFile(new URL('configuration.md', docs), describeConfig())
await writeFile(new URL('configuration.schema.json', docs), formatJson(configJsonSchema()))
