import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { collectEntries, type Layer } from './entries.ts'
import { type ConfigKey, configKeys, configSections } from './keys.ts'
import { didYouMean } from './nearest.ts'
import { loadYaml, quietly, withoutCycle } from './yaml.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** Paths by the name of their variable: every key, and the sections that may be written as 0. */
const pathByEnv = new Map<string, string>()
for (const { env, path } of configKeys.values()) pathByEnv.set(env, path)
for (const { env, path, zero } of configSections.values()) if (zero !== undefined) pathByEnv.set(env, path)

const keyByFileEnv = new Map<string, ConfigKey>()
for (const key of configKeys.values()) if (key.secret !== undefined) keyByFileEnv.set(`${key.env}_FILE`, key)

/**
 * Kubernetes gives every pod such variables for a service named wal2rabbit or wal2rabbit-something; none of them is
 * meant for the bridge. Source: Kubernetes documentation, "Discovering services", environment variables.
 */
const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

/** Reads `WAL2RABBIT_…` and `WAL2RABBIT_…_FILE`. A variable that is set to nothing counts as not set. */
export async function readEnvLayer(env: Env, cwd: string): Promise<Layer> {
  const layer: Layer = { entries: [], problems: [] }
  // Sorted, so that WAL2RABBIT_REPLAY_WINDOW comes before what refines it.
  for (const name of Object.keys(env).sort()) {
    const text = env[name]
    if (!name.startsWith('WAL2RABBIT_') || name.startsWith('WAL2RABBIT_TEST_') || text === undefined || text === '')
      continue
    const path = pathByEnv.get(name)
    const fileKey = keyByFileEnv.get(name)
    if (path !== undefined) addText(path, text, `env ${name}`, layer)
    else if (fileKey !== undefined) await addSecretFile(fileKey, text, cwd, env, layer)
    else if (!serviceLink.test(name)) {
      const remedy = didYouMean(name, [...pathByEnv.keys(), ...keyByFileEnv.keys()])
      layer.problems.push({ key: name, origin: 'env', expected: 'expected a known variable', remedy })
    }
  }
  return layer
}

/** `DATABASE_URL` and `AMQP_URL`: what platforms set. Below every other layer. */
export function readFallbackLayer(env: Env): Layer {
  const layer: Layer = { entries: [], problems: [] }
  for (const { path, fallbackEnv } of configKeys.values()) {
    const text = fallbackEnv === undefined ? undefined : env[fallbackEnv]
    if (text !== undefined && text !== '') addText(path, text, `env ${fallbackEnv}`, layer)
  }
  return layer
}

/** Reads the text of a variable or a flag as its key wants it: as it stands, or as YAML. */
export function addText(path: string, text: string, origin: string, layer: Layer): void {
  if (configKeys.get(path)?.form === 'text') {
    collectEntries(path, text, () => origin, layer)
    return
  }
  let value: unknown
  try {
    value = /^-?\d{1,15}$/.test(text) ? Number(text) : withoutCycle(loadYaml().parse(text, quietly))
  } catch {
    // The parser's message quotes the text; what counts is said without it.
    layer.problems.push({ key: path, origin, expected: 'expected valid YAML or JSON' })
    return
  }
  collectEntries(path, value, () => origin, layer)
}

/** The content of a secret's file, without the one newline that editors and `echo` leave at its end. */
export async function readSecretFile(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).replace(/\r?\n$/, '')
}

async function addSecretFile(key: ConfigKey, text: string, cwd: string, env: Env, layer: Layer): Promise<void> {
  const origin = `env ${key.env}_FILE`
  // The secret itself in the place of its file is a likely mistake, and a path is repeated in messages.
  if (text.includes('://')) {
    layer.problems.push({
      key: key.path,
      origin,
      expected: `expected the path of a file; a url belongs into ${key.env}`,
    })
    return
  }
  const path = resolve(cwd, text)
  if (env[key.env] !== undefined && env[key.env] !== '') {
    layer.problems.push({ key: key.path, origin, expected: `expected either ${key.env} or ${key.env}_FILE, not both` })
    return
  }
  try {
    const value = await readSecretFile(path)
    layer.entries.push({ path: key.path, value, origin: () => `${origin} ${path}`, secretFile: path })
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    layer.problems.push({ key: key.path, origin, expected: `expected a readable file, ${path} is not (${reason})` })
  }
}
