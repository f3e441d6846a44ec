import type pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { snapshotRefresh } from '../../src/setup/snapshot-refresh.ts'
import { freshDatabase } from '../support/services.ts'

// Each creation that is cancelled is an ERROR in the server's log: there was one for each 1/16 of the window.
test('while one transaction stays open the slot that cannot be made is tried once, and again when it has ended', async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const connect = async (): Promise<pg.Client> => {
    const client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
    onTestFinished(() => endControl(client))
    return client
  }
  const [client, writer] = [await connect(), await connect()]
  const refresh = snapshotRefresh(client, 20_000)
  await expect(refresh()).resolves.toBe('written')
  await writer.query('BEGIN')
  await writer.query('SELECT pg_current_xact_id()')
  await expect(refresh()).resolves.toBe('cancelled')
  await expect(refresh()).resolves.toBe('skipped')
  await writer.query(`COMMIT; BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'kept'`)
  await expect(refresh()).resolves.toBe('cancelled')
  await expect(refresh()).resolves.toBe('skipped')
  await writer.query(`COMMIT PREPARED 'kept'`)
  await expect(refresh()).resolves.toBe('written')
  const { rows } = await client.query(`SELECT current_setting('statement_timeout') AS timeout`)
  expect(rows).toEqual([{ timeout: '20s' }])
})
