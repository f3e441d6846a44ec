import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BridgeError } from '../../src/base/errors.ts'
import { clientConfigFromUrl } from '../../src/base/postgres-url.ts'
import { redactUrls } from '../../src/base/secrets.ts'
import { parseSetting } from '../../src/config/flag-layer.ts'
import { configKeys } from '../../src/config/keys.ts'
import { type LoadedConfig, loadConfig } from '../../src/config/load.ts'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { createRouting } from '../../src/routing/message.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type CaseLog, type FuzzTarget, mustHold } from './fuzz-target.ts'
import { mutateText, oddText, pick } from './mutation.ts'

/** The password in every url. */
export const canary = 'c4nary'

const yaml = `source:
  url: postgres://app:${canary}@db:5432/shop?sslmode=require
  slot: wal2rabbit
  plugin: pgoutput
  table: public.outbox
  columns: { id: id, aggregate_type: [agg, aggregate_type], headers: null }
sink:
  url: [amqp://app:${canary}@mq/%2Fshop, "amqp://app:${canary}@mq2"]
  exchange: outbox
  routingKey: '{aggregate_type}.{type}'
  confirmWindow: { messages: 2000, bytes: 32MiB }
  maxMessageSize: 16MiB
routes:
  - { aggregate_type: order*, exchange: orders, routingKey: 'o.{id}', headers: { a: 1 }, unroutable: block }
delivery:
  retry: { attempts: 5, initialDelay: 200ms, maxDelay: 30s }
checkpoint: { interval: 200ms }
replay: { window: 0 }
admin: { host: 127.0.0.1, port: 8090 }
log: { level: info }
`

const names = [
  ...configKeys.keys(),
  'routes',
  'replay.window',
  '__proto__.polluted',
  'constructor',
  'source.urll',
] as const
const values = [
  '1',
  '0',
  '-1',
  'true',
  'null',
  '30s',
  '1h',
  '32MiB',
  'x',
  '[]',
  '{}',
  '{__proto__: {polluted: 1}}',
  '.inf',
  '.nan',
  '99999999999999999999',
  '&a [*a]',
  '*b',
  '"',
  `postgres://u:${canary}@h/d`,
  `amqp://u:${canary}@h`,
  'debezium',
  `amqp://u:${canary}@h,amqps://u:${canary}@h2`,
  '- {type: "*"}',
  '[{exchange: 1}]',
  '\0',
  'a'.repeat(5000),
] as const

export const configTarget: FuzzTarget = {
  name: 'configuration',
  about: 'YAML files, environment and --set, through all layers',
  weight: 2,
  async start() {
    const cwd = await mkdtemp(join(tmpdir(), 'wal2rabbit-fuzz-'))
    const warnings: Error[] = []
    const onWarning = (warning: Error) => void warnings.push(warning)
    process.on('warning', onWarning)
    return {
      async runCase(random, log) {
        await runConfigCase(cwd, random, log)
        // Node prints them, past every scrubber.
        mustHold(warnings.length === 0, () => `a warning was raised: ${warnings[0]?.message}`)
      },
      async stop() {
        process.off('warning', onWarning)
        await rm(cwd, { recursive: true, force: true })
      },
    }
  },
}

async function runConfigCase(cwd: string, random: SeededRandom, log: CaseLog): Promise<void> {
  const text = random.chance(0.7) ? mutateText(random, yaml) : yaml
  const env = Object.fromEntries(some(random, 2).map(([name, value]) => [envName(random, name), value]))
  const set = some(random, 2).map(([name, value]) => `${name}=${value}`)
  const given = JSON.stringify({ text, env, set })
  log.input(given)
  await writeFile(join(cwd, 'wal2rabbit.yaml'), text)
  let loaded: LoadedConfig
  try {
    loaded = await loadConfig({ env, set: set.map(parseSetting), cwd })
  } catch (error) {
    checkRefusal(error, [text, ...Object.values(env), ...set])
    return log.refuse(error instanceof BridgeError ? error.code : '')
  } finally {
    mustHold(!('polluted' in {}) && Object.keys(Object.prototype).length === 0, 'a prototype was changed')
  }
  await checkUsable(loaded)
  log.accept()
}

function some(random: SeededRandom, count_max: number): [string, string][] {
  return Array.from({ length: random.between(0, count_max) }, () => [
    random.chance(0.05) ? oddText(random, 8) : pick(random, names),
    random.chance(0.2)
      ? oddText(random, 8)
      : random.chance(0.3)
        ? mutateText(random, pick(random, values))
        : pick(random, values),
  ])
}

function envName(random: SeededRandom, path: string): string {
  const name = configKeys.get(path)?.env ?? `WAL2RABBIT_${path}`
  return random.chance(0.05) ? `${name}_FILE` : random.chance(0.05) ? mutateText(random, name) : name
}

/** A BridgeError of the configuration: each line says key, origin and what was expected; no password in it. */
export function checkRefusal(error: unknown, given: readonly string[]): void {
  if (!(error instanceof BridgeError) || !/^(CONFIG_INVALID|CONFIG_FILE_UNREADABLE)$/.test(error.code)) {
    throw new Error('expected CONFIG_INVALID or CONFIG_FILE_UNREADABLE', { cause: error })
  }
  if (error.code === 'CONFIG_INVALID') {
    const [head, ...lines] = error.message.split('\n')
    mustHold(/^\d+ problems? in the configuration:$/.test(head ?? '') && lines.length > 0, () => `it says ${head}`)
    for (const line of lines) {
      mustHold(
        /^ {2}\S.* \(.+\): expected \S/.test(line),
        () => `no key, origin or expectation: ${JSON.stringify(line)}`,
      )
    }
  }
  mustHold(!hasControl(error.message), () => `control characters in ${JSON.stringify(error.message)}`)
  // Where a mistake tore the password out of its url, nobody can know that it is one.
  if (given.every(onlyInUrls)) {
    // Printed through this, as long as no configuration is loaded.
    const printed = redactUrls(error.message)
    mustHold(!printed.includes(canary), () => `the password is in: ${printed}`)
  }
}

/** True also where there is none. */
export function onlyInUrls(text: string): boolean {
  const urls = text.match(new RegExp(`\\w://\\w*:${canary}@`, 'g')) ?? []
  return urls.length === text.split(canary).length - 1
}

/** Lines are parted by newlines; anything else of the kind could rule a terminal. */
function hasControl(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text)
}

/** What was accepted can be put to use: no exception is left for later, but of the configuration. */
async function checkUsable(loaded: LoadedConfig): Promise<void> {
  const { source, sink, routes, delivery } = loaded.config
  const url = await loaded.sourceUrl()
  try {
    clientConfigFromUrl(url)
    createRouting({
      columns: resolveColumns(source.columns),
      exchange: sink.exchange,
      routingKey: sink.routingKey,
      routes,
      unroutable: delivery.unroutable,
      maxMessageSize: sink.maxMessageSize,
    })
  } catch (error) {
    if (!(error instanceof BridgeError) || error.action !== 'usage') throw error
  }
  mustHold(!loaded.scrub(JSON.stringify(loaded.config)).includes(canary), 'scrub leaves a password')
}
