import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { parseSetting } from '../../src/config/flag-layer.ts'
import { type LoadedConfig, loadConfig } from '../../src/config/load.ts'

/** Urls that are fine, so that a test may look at other keys. */
export const fineUrls = { DATABASE_URL: 'postgres://app@db/shop', AMQP_URL: 'amqp://mq' }

export interface Given {
  readonly yaml?: string
  readonly env?: Record<string, string>
  readonly set?: readonly string[]
}

/** A folder of its own for this test, gone afterwards. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-config-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export async function load({ yaml, env = {}, set = [] }: Given): Promise<LoadedConfig> {
  const cwd = await temporaryFolder()
  if (yaml !== undefined) await writeFile(join(cwd, 'wal2rabbit.yaml'), yaml)
  return loadConfig({ env: { ...fineUrls, ...env }, set: set.map(parseSetting), cwd })
}

/** The lines of the error that loading ends with, without the first one and the indentation. */
export async function problemsOf(given: Given): Promise<string[]> {
  const error = await load(given).then(
    () => undefined,
    (reason: Error) => reason,
  )
  return (error?.message ?? '')
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
}
