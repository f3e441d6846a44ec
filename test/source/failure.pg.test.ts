import { afterEach, beforeEach, expect, test } from 'vitest'
import { CheckpointStore } from '../../src/checkpoint/checkpoint-store.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { runInit } from '../../src/setup/init.ts'
import { toSourceError } from '../../src/source/failure.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let slot: string

beforeEach(async () => {
  database = await freshDatabase()
  slot = uniqueName('failure')
  const names = {
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
  } as const
  await runInit({ ...names, url: database.url, slot, broker: undefined, dryRun: false, acceptGap: false })
})

afterEach(() => database.drop())

const connect = (statementTimeout: number) =>
  connectControl({ url: database.url, applicationName: 'test', statementTimeout })

test('a locked row and a dropped schema are told apart while the checkpoint is stored', async () => {
  const [client, other] = await Promise.all([connect(300), connect(20_000)])
  try {
    const toError = (error: unknown, doing: string) => toSourceError(error, { doing })
    const store = new CheckpointStore({ client, slot, toError })
    const row = (await store.load())!
    await store.claim(row, { name: 'host/1', timeline: row.timeline, keepPartial: false })
    await other.query('BEGIN')
    await other.query('SELECT FROM wal2rabbit.checkpoint FOR UPDATE')
    await expect(store.store(row.position, 0)).rejects.toMatchObject({
      code: 'CHECKPOINT_STORE_FAILED',
      action: 'retry',
      message: expect.stringContaining('locks the row'),
    })
    await other.query('COMMIT')
    await other.query('DROP SCHEMA wal2rabbit CASCADE')
    await expect(store.store(row.position, 0)).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
    await expect(store.recordHistory('interval')).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
  } finally {
    await Promise.all([endControl(client), endControl(other)])
  }
})
