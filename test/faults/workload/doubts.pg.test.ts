import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { startPostgres } from '../../support/services.ts'
import { resolveDoubts } from './doubts.ts'
import { Ledger } from './ledger.ts'

// Once a soak found 30 events "lost" that had never committed: the xid of their transaction was another one's by then.
test('a transaction lost in a crash is not taken for the later one that has its xid', async () => {
  // So that nothing of it is on disk when the server dies.
  const postgres = await startPostgres({ settings: { wal_writer_delay: '10s', bgwriter_delay: '10s' } })
  onTestFinished(() => postgres.dispose())
  const withClient = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: postgres.url })
    client.on('error', () => undefined)
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.end().catch(() => undefined)
    }
  }
  const insert = (client: pg.Client, id: string) =>
    client.query<{ xid: string }>('INSERT INTO t VALUES ($1) RETURNING pg_current_xact_id()::text AS xid', [id])
  await withClient((client) => client.query('CREATE TABLE t (id text)'))
  const row = { aggregate: 'a', sequence: 1, digest: '' }
  const ledger = new Ledger()
  await withClient(async (client) => {
    await client.query('BEGIN')
    const { rows } = await insert(client, 'lost')
    ledger.doubt({ xid: rows[0]?.xid, rows: new Map([['lost', row]]) })
    await postgres.kill()
  })
  await postgres.start()
  const [doubt] = ledger.doubts
  const later = await withClient((client) => insert(client, 'later'))
  expect(later.rows[0]?.xid, 'the xid is given again').toBe(doubt?.xid)
  ledger.doubt({ xid: later.rows[0]?.xid, rows: new Map([['later', row]]) })
  await resolveDoubts(ledger, withClient, 't')
  expect([...ledger.committed.keys()]).toEqual(['later'])
  expect([...ledger.unknown.keys()]).toEqual(['lost'])
})

test('a rollback that nobody answered is known by its xid', async () => {
  const postgres = await startPostgres()
  onTestFinished(() => postgres.dispose())
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  onTestFinished(() => client.end())
  await client.query('CREATE TABLE t (id text)')
  await client.query('BEGIN')
  const { rows } = await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid')
  const ledger = new Ledger()
  ledger.doubt({ xid: rows[0]?.xid, rows: new Map([['gone', { aggregate: 'a', sequence: 1, digest: '' }]]) })
  const other = new pg.Client({ connectionString: postgres.url })
  await other.connect()
  onTestFinished(() => other.end())
  const resolved = resolveDoubts(ledger, (work) => work(other), 't')
  await delay(200)
  expect(ledger.unknown.size, 'still in progress').toBe(1)
  await client.query('ROLLBACK')
  await resolved
  expect([...ledger.aborted]).toEqual(['gone'])
})
