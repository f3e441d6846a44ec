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
