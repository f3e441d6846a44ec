import { expect, onTestFinished, test } from 'vitest'
import { runCommand } from '../support/bridge-process.ts'
import { isLong } from '../support/length.ts'
import { sharedRabbit, startPostgres } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

// PostgreSQL waits for whoever streams until all is read, and a dry run has a minute to read here.
test.runIf(isLong)(
  'a dry run does not hold up a fast shutdown of PostgreSQL, and goes on afterwards',
  async () => {
    const postgres = await startPostgres()
    onTestFinished(() => postgres.dispose())
    const stage = await Stage.create({ databaseUrl: postgres.url, amqpUrl: sharedRabbit().url })
    onTestFinished(() => stage.dispose())
    const [from] = await stage.query('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint')
    // Little WAL, as it is compressed there, and much to send. The bridge is taken to have delivered it.
    const rows = 200_000
    await stage.query(
      `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
        SELECT 'order', '1', 'Large', to_jsonb(repeat('x', 20000)) FROM generate_series(1, $1::int)`,
      [rows],
    )
    await stage.query('UPDATE wal2rabbit.checkpoint SET lsn = pg_current_wal_lsn(), version = version + 1')
    let code: number | null | undefined
    const dryRun = runCommand(['replay', '--from', String(from!.lsn), '--dry-run', '--json'], stage.bridge.env, {
      ownProcess: true,
    }).finally(() => undefined)
    void dryRun.then((result) => {
      code = result.code
    })
    const streams = () =>
      stage.query(`SELECT FROM pg_stat_replication WHERE state = 'streaming' OR sent_lsn > pg_lsn '0/0'`)
    await expect.poll(async () => (await streams()).length, { timeout: 20_000 }).toBe(1)
    const begun = performance.now()
    await postgres.stop('fast')
    const took = performance.now() - begun
    expect(code, 'the dry run goes on').toBeUndefined()
    console.info(`fast shutdown of PostgreSQL took ${Math.round(took)} ms with a dry run attached`)
    expect(took).toBeLessThan(15_000)
    await postgres.start()
    const result = await dryRun
    expect([result.code, JSON.parse(result.stdout).events]).toEqual([0, rows])
  },
  240_000,
)
