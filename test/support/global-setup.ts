import type { TestProject } from 'vitest/node'
import { brokerVersion } from './services/rabbit-answers.ts'
import {
  asSuperuser,
  type SharedPostgres,
  type SharedRabbit,
  type SharedServices,
  sharedVariable,
} from './services/shared.ts'
import { startPostgres, startRabbit } from './services.ts'

/**
 * Starts what the test files of this run need by their suffixes, once for each worker, so that files that run at the same
 * time share nothing; or takes the servers that the environment names (WAL2RABBIT_TEST_POSTGRES_URL,
 * WAL2RABBIT_TEST_RABBIT_URL). Test processes inherit the environment.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { needs, files } = await neededBy(project)
  const disposals: (() => Promise<void>)[] = []
  const dispose = async (): Promise<void> => {
    await Promise.all(disposals.map((disposal) => disposal()))
  }
  const startForOne = async (): Promise<SharedServices> => {
    const postgres = needs.postgres ? providePostgres(disposals) : undefined
    const rabbit = needs.rabbit ? provideRabbit(disposals) : undefined
    // Both are waited for, so that what one of them has started is known when the other fails.
    await Promise.allSettled([postgres, rabbit])
    return { ...(postgres && { postgres: await postgres }), ...(rabbit && { rabbit: await rabbit }) }
  }
  const perWorker: SharedServices[] = []
  try {
    // One after the other: the first may have to fetch and install what the others find.
    for (let n = 0; n < Math.min(project.config.maxWorkers, files); n++) perWorker.push(await startForOne())
  } catch (error) {
    await dispose()
    throw error
  }
  process.env[sharedVariable] = JSON.stringify(perWorker)
  return dispose
}

interface Needed {
  readonly needs: { readonly postgres: boolean; readonly rabbit: boolean }
  readonly files: number
}

async function neededBy(project: TestProject): Promise<Needed> {
  if (project.vitest.config.watch) return { needs: { postgres: true, rabbit: true }, files: Number.POSITIVE_INFINITY }
  // Not in vitest's published types; without it all files count, and both servers start.
  const { filenamePattern } = project.vitest as typeof project.vitest & { readonly filenamePattern?: string[] }
  const { testFiles } = await project.globTestFiles(filenamePattern)
  const some = (suffix: string): boolean => testFiles.some((file) => file.endsWith(suffix))
  const both = some('.e2e.test.ts')
  return {
    needs: { postgres: both || some('.pg.test.ts'), rabbit: both || some('.amqp.test.ts') },
    files: testFiles.length,
  }
}

/** Nothing kills the shared server on purpose, so it need not wait for its disk. */
async function providePostgres(disposals: (() => Promise<void>)[]): Promise<SharedPostgres> {
  const url = process.env.WAL2RABBIT_TEST_POSTGRES_URL
  if (url) return { url, version: await serverVersion(url) }
  const service = await startPostgres({ settings: { fsync: 'off' } })
  disposals.push(() => service.dispose())
  return { url: service.url, version: service.version }
}

async function provideRabbit(disposals: (() => Promise<void>)[]): Promise<SharedRabbit> {
  const url = process.env.WAL2RABBIT_TEST_RABBIT_URL
  if (url) return { url, version: await brokerVersion(url) }
  const service = await startRabbit()
  disposals.push(() => service.dispose())
  return { url: service.url, version: service.version, control: service.control }
}

async function serverVersion(url: string): Promise<string> {
  const { rows } = await asSuperuser(url, (client) => client.query<{ server_version: string }>('SHOW server_version'))
  return /^[\d.]+/.exec(rows[0]?.server_version ?? '')?.[0] ?? ''
}
