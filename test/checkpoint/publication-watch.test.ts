import { expect, test } from 'vitest'
import { CheckpointMemory } from '../../src/checkpoint/postgres-checkpoint.ts'
import { ScriptedDatabase, sessionOn } from './scripted-database.ts'

const start = { lsn: 0n, partial: null }
const altered = { code: 'PUBLICATION_INCOMPLETE', message: expect.stringContaining('altered while the bridge ran') }

test('a publication that was altered between two looks ends the session, and each one after it', async () => {
  const database = new ScriptedDatabase()
  const memory = new CheckpointMemory()
  let publication = 'first'
  const session = () => sessionOn(database, memory, async () => publication)
  const streaming = session()
  await streaming.resume(start, () => {})
  await streaming.watch()
  publication = 'second'
  await expect(streaming.watch()).rejects.toMatchObject(altered)
  await streaming.close()
  await expect(session().resume(start, () => {})).rejects.toMatchObject(altered)
})

// Found by fault F30: until the next look, up to five seconds of rows that were not streamed were stored as settled.
test('nothing is stored once the publication was altered, also before the next look', async () => {
  const database = new ScriptedDatabase()
  let publication = 'first'
  const streaming = sessionOn(database, new CheckpointMemory(), async () => publication)
  await streaming.resume(start, () => {})
  await streaming.claim()
  await streaming.store({ lsn: 0x2000n, partial: null }, 1)
  publication = 'second'
  await expect(streaming.store({ lsn: 0x3000n, partial: null }, 0)).rejects.toMatchObject(altered)
  expect(database.position.lsn).toBe(0x2000n)
})
