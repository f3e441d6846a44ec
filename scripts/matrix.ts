import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

// npm run test:matrix -- [--postgres 14,18] [--rabbit 3,4] [files]
// Runs the service tests at their full length with each PostgreSQL against each RabbitMQ; a Markdown table goes to standard output.

interface Outcome {
  readonly postgres: string
  readonly rabbit: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly seconds: number
  readonly good: boolean
}

const { values, positionals } = parseArgs({
  options: {
    postgres: { type: 'string', default: '14,15,16,17,18' },
    rabbit: { type: 'string', default: '3,4' },
  },
  allowPositionals: true,
})

const folder = mkdtempSync(join(tmpdir(), 'wal2rabbit-matrix-'))
const outcomes: Outcome[] = []
try {
  for (const rabbit of values.rabbit.split(',')) {
    for (const postgres of values.postgres.split(',')) outcomes.push(await runTests(postgres, rabbit))
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.stdout.write(`${table(outcomes)}\n`)
process.exitCode = outcomes.every(({ good }) => good) ? 0 : 1

async function runTests(postgres: string, rabbit: string): Promise<Outcome> {
  const report = join(folder, `postgres-${postgres}-rabbit-${rabbit}.json`)
  const started = Date.now()
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const child = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--project', 'services', ...reporters, ...positionals],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        WAL2RABBIT_TEST_POSTGRES_VERSION: postgres,
        WAL2RABBIT_TEST_RABBIT: rabbit,
        WAL2RABBIT_TEST_LONG: '1',
      },
    },
  )
  let said = ''
  child.stdout.pipe(process.stderr, { end: false })
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
    process.stderr.write(chunk)
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  const counts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {}
  return {
    postgres: versionIn(said, 'PostgreSQL', postgres),
    rabbit: versionIn(said, 'RabbitMQ', rabbit),
    passed: Number(counts.numPassedTests ?? 0),
    failed: Number(counts.numFailedTests ?? 0),
    skipped: Number(counts.numPendingTests ?? 0),
    seconds: Math.round((Date.now() - started) / 1000),
    good: code === 0,
  }
}

/** The service helper names the exact versions that it started. */
function versionIn(said: string, product: string, major: string): string {
  return new RegExp(`services: ${product} (${major}[\\d.]*)`).exec(said)?.[1] ?? major
}

function table(rows: readonly Outcome[]): string {
  return [
    '| PostgreSQL | RabbitMQ | passed | failed | skipped | seconds | |',
    '|---|---|---:|---:|---:|---:|---|',
    ...rows.map(
      ({ postgres, rabbit, passed, failed, skipped, seconds, good }) =>
        `| ${postgres} | ${rabbit} | ${passed} | ${failed} | ${skipped} | ${seconds} | ${good ? 'good' : 'FAILED'} |`,
    ),
  ].join('\n')
}
