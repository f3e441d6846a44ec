import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { deleteTopology } from './cli/broker-cleanup.ts'
import { freshDatabase, sharedRabbit, uniqueName } from './support/services.ts'

const root = join(import.meta.dirname, '..')
let folder: string
let app: string
let packed: string[]

/** Without what "npm test" and this run add, which a user's shell does not have; where the registry is, stays. */
const own = /^(npm_(config_local_prefix|package|lifecycle|command)|WAL2RABBIT_|VITEST|DATABASE_URL$|AMQP_URL$)/
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))

async function run(cwd: string, command: string, args: readonly string[], extra: Record<string, string> = {}) {
  return promisify(execFile)(command, [...args], { cwd, env: { ...env, ...extra }, timeout: 60_000 })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-package-'))
  app = join(folder, 'app')
  await mkdir(app)
  await writeFile(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }')
  const { stdout } = await run(root, 'npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder])
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  packed = files.map((file) => file.path)
  const quiet = ['--prefix', app, '--prefer-offline', '--no-audit', '--no-fund']
  await run(app, 'npm', ['install', ...quiet, join(folder, filename)])
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function readmeExample(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  return /```js\n(import [\s\S]*?)```/.exec(readme)![1]!
}

test('the package holds the built program, its SQL and its documents, and nothing else', () => {
  expect(packed).toEqual(expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'LICENSE']))
  expect(packed).toEqual(expect.arrayContaining(['sql/001_bookkeeping.sql', 'docs/operations.md', 'README.md']))
  expect(
    packed.filter((path) => !/^(dist|sql|docs)\/|^(README|CHANGELOG)\.md$|^LICENSE$|^package\.json$/.test(path)),
  ).toEqual([])
})

test('npx wal2rabbit --version tells the version of the package', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  expect((await run(app, 'npx', ['--no-install', 'wal2rabbit', '--version'])).stdout).toBe(`${version}\n`)
})

test('what the package exports is a small surface, and its errors are told apart by class and code', async () => {
  const script = `import * as api from 'wal2rabbit'
    const error = await api.loadConfig({ env: {}, cwd: ${JSON.stringify(app)} }).catch((reason) => reason)
    console.log(JSON.stringify([Object.keys(api).sort(), error instanceof api.BridgeError, error.code]))`
  const { stdout } = await run(app, process.execPath, ['--input-type=module', '--eval', script])
  const names = ['BridgeError', 'createLogger', 'errorTable', 'loadConfig', 'startBridge', 'version']
  expect(JSON.parse(stdout)).toEqual([names, true, 'CONFIG_INVALID'])
})

test('the example of the README and the types of the package agree under strict TypeScript', async () => {
  const more = `import { BridgeError, errorTable, type Config, type ErrorCode, type Status } from 'wal2rabbit'
    export const port = (config: Config): number => config.admin.port
    export const remedy = (code: ErrorCode): string => errorTable[code].remedy
    export const isHalted = (status: Status): boolean => status.state === 'halted'
    export const codeOf = (error: unknown): ErrorCode => (error instanceof BridgeError ? error.code : 'UNKNOWN')
    // @ts-expect-error: drained is a boolean, so the types are really there
    export const wrong: string = drained\n`
  await writeFile(join(app, 'example.ts'), (await readmeExample()) + more)
  const typeRoots = join(root, 'node_modules', '@types')
  const compilerOptions = { strict: true, target: 'ES2023', module: 'NodeNext', noEmit: true, types: ['node'] }
  const config = { compilerOptions: { ...compilerOptions, typeRoots: [typeRoots] }, files: ['example.ts'] }
  await writeFile(join(app, 'tsconfig.json'), JSON.stringify(config))
  const compiled = await run(app, join(root, 'node_modules', '.bin', 'tsc'), []).catch((failure) => failure)
  expect(compiled.stdout).toBe('')
})

test('the example of the README runs: init, stream, stop in order', async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const name = uniqueName('package')
  const amqpUrl = sharedRabbit().url
  onTestFinished(() => deleteTopology(amqpUrl, { exchange: name, queue: name }))
  const settings = {
    DATABASE_URL: database.url,
    AMQP_URL: amqpUrl,
    WAL2RABBIT_SOURCE_SLOT: name,
    WAL2RABBIT_SINK_EXCHANGE: name,
    WAL2RABBIT_ADMIN_PORT: '0',
  }
  await run(app, 'npx', ['--no-install', 'wal2rabbit', 'init'], settings)
  await writeFile(join(app, 'example.js'), await readmeExample())
  const child = spawn(process.execPath, ['example.js'], { cwd: app, env: { ...env, ...settings } })
  onTestFinished(() => void child.kill('SIGKILL'))
  const printed = { out: '', err: '' }
  child.stdout.on('data', (data) => (printed.out += data))
  const streaming = new Promise<void>((resolve, reject) => {
    child.on('close', () => reject(new Error(`ended before it streamed:\n${printed.err}`)))
    child.stderr.on('data', (data) => {
      printed.err += data
      if (printed.err.includes('"to":"streaming"')) resolve()
    })
  })
  await streaming
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  expect((await ended)[0], printed.err).toBe(0)
  expect(printed.out).toBe('{ drained: true, halted: false }\n')
})
