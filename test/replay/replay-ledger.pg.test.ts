import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { parseLsn } from '../../src/base/lsn.ts'
import { ReplayLedger } from '../../src/replay/replay-ledger.ts'
import { listReplays, type ReplayProgress, readReplay } from '../../src/replay/replay-record.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import { toSourceError } from '../../src/source/failure.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 10_000 })
  await migrate(client, await loadMigrations())
})

afterAll(async () => {
  await endControl(client)
  await database.drop()
})

const start = { lsn: parseLsn('0/100'), partial: null }
const record = {
  kind: 'replay',
  startedBy: 'me@here',
  request: { from: 'mark', where: [{ key: 'type', pattern: 'A*' }], queue: 'q', rate: 5 },
  plan: {
    source: 'wal',
    range: {
      from: { lsn: parseLsn('0/100'), rows: 2 },
      to: { lsn: parseLsn('0/200'), rows: 0 },
      committedFrom: '2026-01-31T23:59:59.123456Z',
    },
    fromSnapshot: undefined,
    toSnapshot: '7:9:8',
    systemIdentifier: '18446744073709551615',
    timeline: 3,
  },
} as const

const progress: ReplayProgress = {
  settled: { lsn: parseLsn('0/120'), partial: { commitLsn: parseLsn('0/130'), rows: 7 } },
  tableKey: '{"created_at":"x"}',
  ...{ read: 10, matched: 9, published: 6, dead: 2, dropped: 1 },
}

function ledger(id: string): { ledger: ReplayLedger; pid: () => Promise<number> } {
  let connection: pg.Client | undefined
  const made = new ReplayLedger({
    slot: 'slot',
    id,
    connect: async () => {
      const connected = await connectControl({ url: database.url, applicationName: id, statementTimeout: 10_000 })
      connection = connected
      return { query: (statement) => connected.query({ ...statement }), close: () => endControl(connected) }
    },
    toError: (error, doing) => toSourceError(error, { doing }),
    patience: 10_000,
  })
  const pid = async () => Number((await connection!.query('SELECT pg_backend_pid() AS pid')).rows[0].pid)
  return { ledger: made, pid }
}

test('what was asked for, what it came to and how far it is are read as they were written', async () => {
  const { ledger: own } = ledger('one')
  await own.begin(record, start)
  await own.store(progress)
  const found = await readReplay(client, 'slot', 'one')
  expect(found).toMatchObject({ ...record, id: 'one', state: 'running', progress, locked: true, finishedAt: null })
  await own.end('done')
  await own.close()
  expect(await readReplay(client, 'slot', 'one')).toMatchObject({ state: 'done', locked: false })
  expect((await listReplays(client, 'slot', 10)).map(({ id }) => id)).toEqual(['one'])
  expect(await readReplay(client, 'other', 'one')).toBeUndefined()
})

test('one process runs a replay; when it is gone another takes up where it was', async () => {
  const { ledger: first } = ledger('two')
  await first.begin(record, start)
  await first.store(progress)
  const { ledger: second } = ledger('two')
  await expect(second.read()).rejects.toMatchObject({ code: 'REPLAY_RUNNING' })
  // As a process that was killed: its connection ends, its row stays.
  await first.close()
  const taken = await second.read()
  expect(taken.progress).toEqual(progress)
  await second.resume()
  expect(await readReplay(client, 'slot', 'two')).toMatchObject({ state: 'running', locked: true })
  await second.end('stopped')
  await second.close()
})

test('a lost connection is made again, with the lock, and the store is durable', async () => {
  const { ledger: own, pid } = ledger('three')
  await own.begin(record, start)
  await client.query('SELECT pg_terminate_backend($1)', [await pid()])
  await own.store(progress)
  expect(await readReplay(client, 'slot', 'three')).toMatchObject({ progress, locked: true })
  await own.close()
})

test('what is done, or was ended by somebody else, is neither stored nor resumed', async () => {
  const { ledger: own } = ledger('four')
  await own.begin(record, start)
  // As when the lock was lost with the connection, and another process has resumed it and come to its end.
  await client.query(`UPDATE wal2rabbit.replay SET state = 'done' WHERE id = 'four'`)
  await expect(own.store(progress)).rejects.toMatchObject({ code: 'REPLAY_RUNNING' })
  await own.end('failed', new BridgeError('REPLAY_RUNNING', 'ended by somebody else'))
  expect(await readReplay(client, 'slot', 'four')).toMatchObject({ state: 'done', errorCode: null })
  await own.close()
  const { ledger: again } = ledger('four')
  await expect(again.read()).rejects.toMatchObject({ code: 'USAGE' })
  await again.close()
  const { ledger: none } = ledger('none')
  await expect(none.read()).rejects.toMatchObject({ code: 'USAGE' })
  await none.close()
})

test('the error of a replay stays until it is taken up again: reading it holds the lock and changes nothing', async () => {
  const { ledger: own } = ledger('five')
  await own.begin(record, start)
  await own.end('failed', new BridgeError('SINK_UNREACHABLE', 'away'))
  await own.close()
  const { ledger: again } = ledger('five')
  await again.read()
  const failed = { state: 'failed', errorCode: 'SINK_UNREACHABLE', errorText: 'away', locked: true }
  expect(await readReplay(client, 'slot', 'five')).toMatchObject(failed)
  await again.resume()
  expect(await readReplay(client, 'slot', 'five')).toMatchObject({
    state: 'running',
    errorCode: null,
    finishedAt: null,
  })
  await again.close()
})
