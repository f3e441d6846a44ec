import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { matrix } from './matrix.ts'
import { type FaultsOptions, readOptions, usage } from './options.ts'
import { cellsOf, mergePage, tableOf } from './report.ts'
import { Servers } from './rig/servers.ts'
import type { Row } from './row.ts'
import { rows } from './rows/index.ts'
import { type RowResult, runRow } from './run-row.ts'
import { runSoak } from './run-soak.ts'

/** Progress goes to standard error, results to standard output. */
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const print = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    print(usage)
    return 0
  }
  const options = readOptions(args)
  const chosen = rows.filter((row) => isAsked(row, options))
  if (options.list) {
    for (const { id, title, expect, quick } of chosen) print(`${id}  ${expect}  ${title}${quick ? ' (quick)' : ''}`)
    return 0
  }
  if (options.soak_ms !== undefined)
    return runSoak({
      duration_ms: options.soak_ms,
      seed: options.seed,
      markdownFile: options.markdownFile,
      args,
      say,
      print,
    })
  const command = ['npm run faults', ...(args.length === 0 ? [] : ['--', ...args])].join(' ')
  const servers = new Servers()
  const logs = await mkdtemp(join(tmpdir(), 'wal2rabbit-faults-'))
  try {
    say(`${chosen.length} rows, seed ${options.seed}`)
    const results: RowResult[] = []
    for (const row of chosen) {
      results.push(await runOne(row, options, servers, logs))
      // After each, so that a run that is broken off has not been for nothing.
      if (options.markdownFile !== undefined) await updatePage(options.markdownFile, results, command, options, servers)
    }
    print(`${command}\nseed ${options.seed}, ${versionsOf(servers)}\n\n${tableOf(results.map(cellsOf))}`)
    const failed = results.filter(({ failures }) => failures.length > 0)
    if (failed.length === 0) await rm(logs, { recursive: true })
    else say(`${failed.length} of ${results.length} rows failed with seed ${options.seed}; logs are in ${logs}`)
    return failed.length === 0 ? 0 : 1
  } finally {
    await servers.dispose()
  }
}

function isAsked(row: Row, { ids, title, area, quick }: FaultsOptions): boolean {
  if (ids !== undefined && !ids.includes(row.id)) return false
  if (title !== undefined && !row.title.includes(title)) return false
  if (area !== undefined && matrix[row.id].area !== area) return false
  return !quick || row.quick === true
}

async function runOne(row: Row, options: FaultsOptions, servers: Servers, logs: string): Promise<RowResult> {
  const { seed, quick } = options
  const runs = options.runs ?? (quick ? (row.quickRuns ?? 1) : (row.runs ?? 1))
  say(`${row.id} ${row.title} (${runs}) …`)
  const result = await runRow(row, { seed, runs, quick }, servers, say, logs)
  const outcome = result.failures.length === 0 ? 'passed' : `FAILED, logs in ${result.folder}`
  say(`${row.id} ${outcome} in ${result.seconds.toFixed(0)} s`)
  for (const failure of result.failures) say(`  ${failure}`)
  return result
}

async function updatePage(
  file: string,
  results: readonly RowResult[],
  command: string,
  { seed }: FaultsOptions,
  servers: Servers,
): Promise<void> {
  const previous = existsSync(file) ? await readFile(file, 'utf8') : ''
  const date = new Date().toISOString().slice(0, 10)
  await writeFile(file, mergePage(previous, results, rows, { command, seed, date, versions: versionsOf(servers) }))
}

function versionsOf(servers: Servers): string {
  return `${servers.versions}, Node ${process.versions.node}`
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const isUsage =
    error instanceof RangeError ||
    (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))
  say(
    isUsage ? `${error.message}\n\n${usage}` : error instanceof Error ? (error.stack ?? error.message) : String(error),
  )
  process.exitCode = isUsage ? 2 : 1
}
