import type pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { CheckpointStore } from '../../src/checkpoint/checkpoint-store.ts'
import { readServerFacts } from '../../src/checkpoint/server-facts.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { toSourceError } from '../../src/source/failure.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client

const owner = { name: 'host/1', timeline: 1, keepPartial: true }
const end = (lsn: bigint) => ({ lsn, partial: null })

function storeOn(connection: pg.Client): CheckpointStore {
  return new CheckpointStore({
    client: connection,
    slot: 'shop',
    toError: (error, doing) => toSourceError(error, { doing }),
  })
}

async function claimed(): Promise<CheckpointStore> {
  const store = storeOn(client)
  await store.claim((await store.load())!, owner)
  return store
}

function connect(): Promise<pg.Client> {
  return connectControl({ url: database.url, applicationName: 'wal2rabbit-test', statementTimeout: 10_000 })
}

beforeAll(async () => {
  database = await freshDatabase()
  client = await connect()
  await migrate(client, await loadMigrations())
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

beforeEach(async () => {
  await client.query('TRUNCATE wal2rabbit.checkpoint, wal2rabbit.checkpoint_history')
  await client.query(`INSERT INTO wal2rabbit.checkpoint (slot, lsn, system_identifier, timeline)
    VALUES ('shop', '9/F000000', '7000', 1), ('other', '1/1', '7000', 1)`)
})

test('without a row there is no checkpoint', async () => {
  await client.query(`DELETE FROM wal2rabbit.checkpoint WHERE slot = 'shop'`)
  expect(await storeOn(client).load()).toBeUndefined()
})

test('what was stored is loaded: position, rows of the open transaction, count, owner', async () => {
  const store = await claimed()
  const position = { lsn: parseLsn('A/1'), partial: { commitLsn: parseLsn('A/20'), rows: 70_000 } }
  const { walEnd } = await store.store(position, 5)
  await store.store(position, 2)
  expect(await storeOn(client).load()).toMatchObject({
    position,
    events: 7n,
    epoch: 1n,
    version: 4n,
    owner: 'host/1',
    systemIdentifier: '7000',
    storedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
  })
  expect(await store.walEnd()).toBeGreaterThan(walEnd)
  expect(
    (await client.query(`SELECT lsn::text, version FROM wal2rabbit.checkpoint WHERE slot = 'other'`)).rows,
  ).toEqual([{ lsn: '1/1', version: '1' }])
})

test('LSNs are compared as numbers: A/1 lies above 9/F000000, and 10/0 above A/1', async () => {
  const store = await claimed()
  await store.store(end(parseLsn('A/1')), 0)
  await store.store(end(parseLsn('10/0')), 0)
  expect((await store.load())?.position).toEqual(end(parseLsn('10/0')))
})

test('a second owner fences the first, which then changes nothing', async () => {
  const first = await claimed()
  const second = await claimed()
  await expect(first.store(end(parseLsn('A/1')), 1)).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  await second.store(end(parseLsn('A/2')), 1)
  expect(await second.load()).toMatchObject({ position: end(parseLsn('A/2')), events: 1n, epoch: 2n })
})

test('what may be left out of the stream is noted, whoever owns the row, until the next claim', async () => {
  const below = async () =>
    (await client.query(`SELECT unstreamed_below::text AS below FROM wal2rabbit.checkpoint WHERE slot = 'shop'`))
      .rows[0].below
  const first = await claimed()
  expect(await below()).toBeNull()
  await storeOn(client).noteUnstreamed()
  await first.store(end(parseLsn('A/1')), 1)
  expect(await below()).toBe('9223372036854775807')
  const { rows } = await client.query('SELECT pg_current_xact_id()::text AS id')
  await claimed()
  expect(BigInt(await below())).toBe(BigInt(rows[0].id) + 1n)
  const ended = await below()
  await claimed()
  expect(await below()).toBe(ended)
})

test('of two owners that loaded the same row only one gets it', async () => {
  const [a, b] = [storeOn(client), storeOn(client)]
  const [rowOfA, rowOfB] = [(await a.load())!, (await b.load())!]
  await a.claim(rowOfA, owner)
  await expect(b.claim(rowOfB, owner)).rejects.toMatchObject({
    code: 'CHECKPOINT_FENCED',
    message: expect.stringContaining('no longer has version 1'),
  })
  await a.store(end(parseLsn('A/1')), 1)
})

test('a row that somebody else changed is never stored over', async () => {
  const store = await claimed()
  await client.query(`UPDATE wal2rabbit.checkpoint SET version = version + 1, lsn = '8/0' WHERE slot = 'shop'`)
  await expect(store.store(end(parseLsn('A/1')), 1)).rejects.toMatchObject({
    code: 'CHECKPOINT_FENCED',
    message: expect.stringContaining('expected epoch 1, version 2'),
  })
  expect((await store.load())?.position).toEqual(end(parseLsn('8/0')))
})

test('a row that was deleted and made anew is not ours, even at the same version', async () => {
  const store = await claimed()
  await client.query(`UPDATE wal2rabbit.checkpoint SET epoch = epoch + 1 WHERE slot = 'shop'`)
  await expect(store.store(end(parseLsn('A/1')), 1)).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
})

test('the database itself refuses to go back, also behind the back of an owner', async () => {
  const store = await claimed()
  await client.query(`UPDATE wal2rabbit.checkpoint SET lsn = 'B/0' WHERE slot = 'shop'`)
  await expect(store.store(end(parseLsn('A/1')), 1)).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  await client.query(`UPDATE wal2rabbit.checkpoint SET lsn = '9/F000000', partial_commit_lsn = 'B/0', partial_rows = 9
    WHERE slot = 'shop'`)
  const fewerRows = { lsn: parseLsn('9/F000000'), partial: { commitLsn: parseLsn('B/0'), rows: 8 } }
  await expect(store.store(fewerRows, 1)).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
})

test('storing a lower position, without a claim, or twice at once is a broken invariant', async () => {
  await expect(storeOn(client).store(end(1n), 0)).rejects.toMatchObject({ code: 'ASSERTION_FAILED' })
  const store = await claimed()
  await expect(store.store(end(1n), 0)).rejects.toThrow('checkpoint would move back from 9/F000000 to 0/1')
  const underWay = store.store(end(parseLsn('A/1')), 0)
  await expect(store.store(end(parseLsn('A/2')), 0)).rejects.toThrow('while another store is under way')
  await underWay
})

test('a claim moves the row to the timeline it was checked on, and drops rows that a promotion cut off', async () => {
  const store = await claimed()
  await store.store({ lsn: parseLsn('A/1'), partial: { commitLsn: parseLsn('A/20'), rows: 7 } }, 7)
  const next = storeOn(client)
  const { row } = await next.claim((await next.load())!, { name: 'host/2', timeline: 2, keepPartial: false })
  expect(row).toMatchObject({ position: end(parseLsn('A/1')), timeline: 2, owner: 'host/2' })
  await next.store({ lsn: parseLsn('A/1'), partial: { commitLsn: parseLsn('A/20'), rows: 1 } }, 1)
})

test('a lost connection is told from a server that cannot write now, and both are tried again', async () => {
  const connection = await connect()
  const store = storeOn(connection)
  await store.claim((await store.load())!, owner)
  await connection.query(`SET default_transaction_read_only = on`)
  await expect(store.store(end(parseLsn('A/1')), 0)).rejects.toMatchObject({ action: 'retry' })
  await connection.query(`SET default_transaction_read_only = off`)
  await client.query('ALTER TABLE wal2rabbit.checkpoint ADD CONSTRAINT full_disk CHECK (events < 5)')
  await expect(store.store(end(parseLsn('A/1')), 9)).rejects.toMatchObject({ code: 'CHECKPOINT_STORE_FAILED' })
  await client.query('ALTER TABLE wal2rabbit.checkpoint DROP CONSTRAINT full_disk')
  await store.store(end(parseLsn('A/1')), 9)
  await client.query('SELECT pg_terminate_backend($1)', [(connection as unknown as { processID: number }).processID])
  await expect(store.store(end(parseLsn('A/2')), 0)).rejects.toMatchObject({ action: 'retry' })
  await endControl(connection)
})

test('stores are durable before they are answered, whatever the role prefers', async () => {
  const role = (await client.query('SELECT current_user AS name')).rows[0].name
  await client.query(`ALTER ROLE "${role}" IN DATABASE "${database.name}" SET synchronous_commit = off`)
  const connection = await connect()
  try {
    expect((await connection.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'local' }])
  } finally {
    await endControl(connection)
    await client.query(`ALTER ROLE "${role}" IN DATABASE "${database.name}" RESET synchronous_commit`)
  }
})

test('the facts of the server are read in one go', async () => {
  const facts = await readServerFacts(client)
  const control = await client.query('SELECT system_identifier::text AS id FROM pg_control_system()')
  expect(facts).toMatchObject({ systemIdentifier: control.rows[0].id, inRecovery: false, database: database.name })
  expect(facts.timeline).toBeGreaterThanOrEqual(1)
  expect(facts.version).toBeGreaterThanOrEqual(140_000)
  expect((await readServerFacts(client)).postmasterStartTime).toBe(facts.postmasterStartTime)
  await client.query('CREATE TABLE wal ()')
  expect((await readServerFacts(client)).walEnd).toBeGreaterThan(facts.walEnd)
})
