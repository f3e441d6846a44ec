import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Violation } from './checkers/violation.ts'
import { Rig } from './rig/rig.ts'
import type { Servers } from './rig/servers.ts'
import type { Figures, Row, RowRun } from './row.ts'

export interface RowResult {
  readonly row: Row
  readonly seed: number
  /** Undefined when the row broke off. */
  readonly figures: Figures | undefined
  /** Why it failed, line by line; empty when it passed. */
  readonly failures: readonly string[]
  readonly seconds: number
  /** Where the logs of a failed row are. */
  readonly folder: string | undefined
}

const usualTimeout_s = 300

/** Runs one row on the servers of the run, and leaves them usable. Never rejects for what the row does. */
export async function runRow(
  row: Row,
  run: RowRun,
  servers: Servers,
  say: (line: string) => void,
  logs: string,
): Promise<RowResult> {
  const begun = performance.now()
  const rig = new Rig(servers, say)
  const timeout_s = row.timeout ?? usualTimeout_s
  let figures: Figures | undefined
  let failures: string[]
  try {
    figures = await within(row.run(rig, run), timeout_s)
    failures = figures.violations.map(lineOf)
  } catch (error) {
    // What was noted before it broke off may be the reason.
    const noted = rig.scenes.flatMap(({ notes }) => notes.violations).map(lineOf)
    failures = [...noted, error instanceof Error ? (error.stack ?? error.message) : String(error)]
  }
  const seconds = (performance.now() - begun) / 1000
  const folder = failures.length === 0 ? undefined : await keepLogs(rig, row, run, failures, logs)
  await rig.cleanUp(row.breaks)
  return { row, seed: run.seed, figures, failures, seconds, folder }
}

function lineOf({ invariant, what, count }: Violation): string {
  return `${invariant}: ${what}${count > 1 ? ` (${count})` : ''}`
}

async function within<T>(work: Promise<T>, timeout_s: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the row took longer than ${timeout_s} s`)), timeout_s * 1000)
  })
  try {
    return await Promise.race([work, expired])
  } finally {
    clearTimeout(timer)
  }
}

async function keepLogs(rig: Rig, row: Row, run: RowRun, failures: readonly string[], logs: string): Promise<string> {
  const folder = join(logs, `${row.id}-${row.title.replaceAll(/[^a-z0-9]+/gi, '-').slice(0, 50)}-${run.seed}`)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'failures.txt'), `${failures.join('\n')}\n`)
  for (const [n, scene] of rig.scenes.entries()) {
    for (const [m, { log }] of scene.bridges.entries()) {
      await writeFile(join(folder, `scene-${n + 1}-bridge-${m + 1}.log`), log)
    }
  }
  return folder
}
