import { expect, test } from 'vitest'
import { CheckpointMemory } from '../../src/checkpoint/postgres-checkpoint.ts'
import type { StartPosition } from '../../src/source/source.ts'
import { ScriptedDatabase, sessionOn } from './scripted-database.ts'

const end = (lsn: bigint): StartPosition => ({ lsn, partial: null })
const nobody = () => {}

/** A process whose first session has claimed the row and stored up to 0x2000. */
async function afterOneSession() {
  const database = new ScriptedDatabase()
  const memory = new CheckpointMemory()
  const session = sessionOn(database, memory)
  expect((await session.resume(end(0n), nobody)).remembered).toBe(false)
  await session.claim()
  await session.store(end(0x2000n), 3)
  const resume = (received = end(0x3000n)) => sessionOn(database, memory).resume(received, nobody)
  return { database, memory, session, resume }
}

// The active bridge stores and acknowledges all the time: one look in 140 fell between the two, and halted the stand-by.
test('a stand-by that looks while the active bridge stores and acknowledges stands by', async () => {
  const database = new ScriptedDatabase()
  database.active = true
  database.before = () => {
    database.position = end(database.position.lsn + 0x10n)
    database.version++
    database.confirmedFlush = database.position.lsn
    database.walEnd = database.position.lsn
  }
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'SLOT_ACTIVE' })
})

test('a slot that is ahead of the row halts, also while it is in use', async () => {
  const database = new ScriptedDatabase()
  database.active = true
  database.confirmedFlush = 0x1001n
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
})

test('a slot that was made anew while the session was being made halts before anything is read', async () => {
  const database = new ScriptedDatabase()
  const session = sessionOn(database)
  await session.resume(end(0n), nobody)
  database.confirmedFlush = 0x1200n
  database.active = true
  await expect(session.claim()).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
})

test('a row that somebody changed since resume() is not claimed', async () => {
  const database = new ScriptedDatabase()
  const session = sessionOn(database)
  await session.resume(end(0n), nobody)
  database.storedByAnother(0x1800n)
  await expect(session.claim()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
})

test('a process that has stored nothing yet starts from the row, whatever it has received', async () => {
  const database = new ScriptedDatabase()
  const memory = new CheckpointMemory()
  await sessionOn(database, memory).resume(end(0n), nobody)
  const resume = await sessionOn(database, memory).resume(end(0x3000n), nobody)
  expect(resume).toMatchObject({ remembered: false, start: end(0x1000n) })
})

test('the next session goes on from memory while the row is as this process left it', async () => {
  const { resume } = await afterOneSession()
  expect(await resume()).toMatchObject({ remembered: true, start: end(0x3000n), stored: end(0x2000n) })
  expect(await resume({ lsn: 0x3000n, partial: { commitLsn: 0x3100n, rows: 5 } })).toMatchObject({
    remembered: true,
    start: { lsn: 0x3000n, partial: { commitLsn: 0x3100n, rows: 5 } },
  })
})

test('standing by in between forgets nothing', async () => {
  const { database, resume } = await afterOneSession()
  database.active = true
  await expect(resume()).rejects.toMatchObject({ code: 'SLOT_ACTIVE' })
  database.active = false
  expect(await resume()).toMatchObject({ remembered: true })
})

test('once another has stored, the row counts, in every later session too', async () => {
  const { database, resume } = await afterOneSession()
  database.storedByAnother(0x2800n)
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x2800n) })
  // The window began anew at the row; it is what a session that never came to claim goes on with.
  expect(await resume(end(0x2800n))).toMatchObject({ start: end(0x2800n) })
})

test('a server that was restarted may have lost what it had sent: the row counts', async () => {
  const { database, resume } = await afterOneSession()
  database.startedAt = '2026-01-02T00:00:00.000000Z'
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x2000n) })
})

test('a row that was moved back counts, and so does what this process stores next', async () => {
  const { database, resume } = await afterOneSession()
  database.position = end(0x1800n)
  database.version++
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x1800n) })
})

test.each([
  ['was written', (apply: () => void) => apply(), end(0x2400n)],
  ['was not written', () => {}, end(0x2000n)],
] as const)('after a store without an answer that %s, memory still counts', async (_what, outcome, stored) => {
  const { database, session, resume } = await afterOneSession()
  database.onStore = outcome
  await expect(session.store(end(0x2400n), 1)).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  database.onStore = undefined
  expect(await resume()).toMatchObject({ remembered: true, start: end(0x3000n), stored })
})

test('after a store without an answer, a row with another position was moved by somebody else', async () => {
  const { database, session, resume } = await afterOneSession()
  database.onStore = () => {}
  await expect(session.store(end(0x2400n), 1)).rejects.toThrow('no answer')
  database.version++
  database.position = end(0x2200n)
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x2200n) })
})

test('after a store without an answer, a row with the same position but another owner is not ours', async () => {
  const { database, session, resume } = await afterOneSession()
  database.onStore = () => {}
  await expect(session.store(end(0x2400n), 1)).rejects.toThrow('no answer')
  database.version++
  database.epoch++
  database.position = end(0x2400n)
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x2400n) })
})

test('a store in doubt that arrives between resume and claim fences that session, and the next goes on from memory', async () => {
  const { database, memory, session, resume } = await afterOneSession()
  let arrive = () => {}
  database.onStore = (apply) => {
    arrive = apply
  }
  await expect(session.store(end(0x2400n), 1)).rejects.toThrow('no answer')
  database.onStore = undefined
  const late = sessionOn(database, memory)
  expect(await late.resume(end(0x3000n), nobody)).toMatchObject({ remembered: true, stored: end(0x2000n) })
  arrive()
  await expect(late.claim()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  expect(await resume()).toMatchObject({ remembered: true, start: end(0x3000n), stored: end(0x2400n) })
})

test('a store in doubt that arrives after the next claim changes nothing', async () => {
  const { database, memory, session } = await afterOneSession()
  let arrive = () => {}
  database.onStore = (apply) => {
    arrive = apply
  }
  await expect(session.store(end(0x2400n), 1)).rejects.toThrow('no answer')
  database.onStore = undefined
  const next = sessionOn(database, memory)
  await next.resume(end(0x3000n), nobody)
  await next.claim()
  await next.store(end(0x2c00n), 1)
  arrive()
  expect(database.position).toEqual(end(0x2c00n))
})
