import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLsn } from '../../src/base/lsn.ts'
import { CheckpointStore } from '../../src/checkpoint/checkpoint-store.ts'
import { readServerFacts } from '../../src/checkpoint/server-facts.ts'
import { withControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { readTimelineHistory } from '../../src/setup/server-timeline.ts'
import { toSourceError } from '../../src/source/failure.ts'
import { type PostgresService, startPostgres } from '../support/services.ts'

let server: PostgresService

beforeAll(async () => {
  server = await startPostgres({ settings: { restore_command: 'false' } })
})

afterAll(() => server.dispose())

const control = () => ({ url: server.url, applicationName: 'test', statementTimeout: 10_000 })
const init = (acceptGap = false) =>
  runInit({
    url: server.url,
    slot: 'promoted',
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    broker: undefined,
    dryRun: false,
    acceptGap,
  })

/** Ends in a new timeline, as a promotion does. */
async function recoverToNewTimeline(): Promise<void> {
  await server.stop('fast')
  await writeFile(join(server.dataFolder!, 'recovery.signal'), '')
  await server.start()
  const inRecovery = async () => (await withControl(control(), 'reading', readServerFacts)).inRecovery
  await expect.poll(inRecovery, { timeout: 20_000 }).toBe(false)
}

test('after a promotion a session starts below the switch, and never above it', async (context) => {
  if (server.dataFolder === undefined) return context.skip('needs a data folder on this machine')
  await init()
  const before = await withControl(control(), 'reading', readServerFacts)
  expect(await readTimelineHistory(server.url, before.timeline)).toEqual([])
  await recoverToNewTimeline()

  const after = await withControl(control(), 'reading', readServerFacts)
  expect(after).toMatchObject({ timeline: 2, systemIdentifier: before.systemIdentifier })
  expect(after.postmasterStartTime).not.toBe(before.postmasterStartTime)
  const history = await readTimelineHistory(server.url, 2)
  expect(history).toEqual([{ timeline: 1, switchLsn: expect.any(BigInt) }])
  const { switchLsn } = history[0]!
  expect(switchLsn).toBeGreaterThanOrEqual(before.walEnd)
  expect(new Set((await init()).map((step) => step.outcome))).toEqual(new Set(['kept']))

  await withControl(control(), 'storing', async (client) => {
    const setLsn = (lsn: bigint) =>
      client.query(`UPDATE wal2rabbit.checkpoint SET lsn = $1, version = version + 1`, [formatLsn(lsn)])
    await client.query('CREATE TABLE more_wal ()')
    await setLsn(switchLsn)
    await init()
    await setLsn(switchLsn + 1n)
    await expect(init()).rejects.toMatchObject({ code: 'TIMELINE_DIVERGED' })

    await init(true)
    const store = new CheckpointStore({
      client,
      slot: 'promoted',
      toError: (error, doing) => toSourceError(error, { doing }),
    })
    expect(await store.load()).toMatchObject({ timeline: 2 })
  })
})
