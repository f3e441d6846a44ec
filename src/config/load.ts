import { BridgeError } from '../base/errors.ts'
import { createScrubber, type Scrub } from '../base/secrets.ts'
import { type Env, readEnvLayer, readFallbackLayer, readSecretFile } from './env-layer.ts'
import { readFileLayer } from './file-layer.ts'
import { type FlagSetting, readFlagLayer } from './flag-layer.ts'
import { configKeys } from './keys.ts'
import { configError } from './problems.ts'
import { type Resolved, resolveConfig } from './resolve.ts'
import type { Config } from './schema.ts'
import { sinkUrlsProblem, sourceUrlProblem, splitUrls, type UrlProblem } from './urls.ts'

export interface LoadOptions {
  /** --config; `wal2rabbit.yaml` of `cwd`, if there, when absent. */
  readonly file?: string | undefined
  readonly env: Env
  /** Settings of the command line, in their order. */
  readonly set?: readonly FlagSetting[]
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: Config
  /** Urls with passwords, and pass phrases: what `scrub` replaces. */
  readonly secrets: readonly string[]
  /** Replaces secrets in a text, those of a rotated …_FILE too. */
  readonly scrub: Scrub
  /** source.url, read anew when it came from a …_FILE: a rotated password is picked up. Throws SECRET_UNREADABLE. */
  sourceUrl(): Promise<string>
  /** sink.url, in the same way. */
  sinkUrls(): Promise<readonly string[]>
}

/**
 * The configuration from all of its layers; later ones win: defaults, platform fallbacks, file, environment, flags.
 * Throws CONFIG_INVALID with every problem at once, or CONFIG_FILE_UNREADABLE.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const { file, env, set = [], cwd } = options
  const layers = [
    readFallbackLayer(env),
    await readFileLayer(file, cwd),
    await readEnvLayer(env, cwd),
    readFlagLayer(set),
  ]
  const resolved = resolveConfig(layers.flatMap((layer) => layer.entries))
  const problems = [...layers.flatMap((layer) => layer.problems), ...withoutFollowUps(resolved, layers)]
  if (problems.length > 0 || resolved.config === undefined) throw configError(problems)

  const { config, winners } = resolved
  const secrets = secretsOf(config)
  const scrub = createScrubber(secrets)
  const secretAt = async (path: string): Promise<string | undefined> => {
    const secretFile = winners.get(path)?.secretFile
    if (secretFile === undefined) return undefined
    const secret = await rereadSecret(path, secretFile)
    scrub.add(secret)
    return secret
  }
  return {
    config,
    secrets,
    scrub,
    async sourceUrl() {
      const url = await secretAt('source.url')
      if (url !== undefined) refuse('source.url', sourceUrlProblem(url))
      return url ?? config.source.url
    },
    async sinkUrls() {
      const text = await secretAt('sink.url')
      if (text === undefined) return config.sink.url
      const urls = splitUrls(text)
      refuse('sink.url', sinkUrlsProblem(urls))
      return urls
    },
  }
}

/** A key whose layer already has a problem (an unreadable …_FILE) is not reported as missing on top of it. */
function withoutFollowUps(resolved: Resolved, layers: readonly { problems: readonly { key: string }[] }[]) {
  const reported = new Set(layers.flatMap((layer) => layer.problems.map((problem) => problem.key)))
  return resolved.problems.filter((problem) => resolved.winners.has(problem.key) || !reported.has(problem.key))
}

function secretsOf(config: Config): string[] {
  const { passphrase } = config.sink.tls
  return [config.source.url, ...config.sink.url, ...(passphrase === undefined ? [] : [passphrase])]
}

async function rereadSecret(path: string, file: string): Promise<string> {
  try {
    return await readSecretFile(file)
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new BridgeError('SECRET_UNREADABLE', `cannot read ${path} again from ${file} (${reason})`, { cause: error })
  }
}

function refuse(path: string, problem: UrlProblem | undefined): void {
  if (problem === undefined) return
  const { env } = configKeys.get(path)!
  throw new BridgeError(
    'SECRET_UNREADABLE',
    `the file of ${env}_FILE no longer holds a url for ${path}: ${problem.expected}`,
  )
}
