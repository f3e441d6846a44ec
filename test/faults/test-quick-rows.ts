import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isLong } from '../support/length.ts'
import { Servers } from './rig/servers.ts'
import type { Row } from './row.ts'
import { runRow } from './run-row.ts'

/** Rows in their short form, as tests. One alone: -t F50, or npm run faults -- --row F50 --quick. */
export function testQuickRows(rows: readonly Row[]): void {
  const servers = new Servers()
  const seed = Number(process.env.WAL2RABBIT_TEST_SEED ?? Date.now() % 1_000_000)

  beforeAll(async () => {
    console.info(`seed ${seed} (WAL2RABBIT_TEST_SEED)`)
    await Promise.all([servers.postgres(), servers.rabbit()])
  })
  afterAll(() => servers.dispose())

  for (const row of rows.filter(({ quick, everyTime }) => everyTime || (quick && isLong))) {
    test(
      `${row.id} ${row.title}`,
      async () => {
        const logs = await mkdtemp(join(tmpdir(), 'wal2rabbit-faults-'))
        const run = { seed, runs: row.quickRuns ?? 1, quick: true }
        const { failures } = await runRow(row, run, servers, console.info, logs)
        expect(failures, `seed ${seed}, logs in ${logs}`).toEqual([])
        await rm(logs, { recursive: true })
      },
      (row.timeout ?? 300) * 1000,
    )
  }
}
