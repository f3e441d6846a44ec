import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
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

// The simulation found it, once in 100,000 histories: the answer to the claim was slow, and the new owner's slot was
// compared with the old row.
test('a slot that another owner has moved since the claim halts nobody: the session is fenced', async () => {
  const database = new ScriptedDatabase()
  const session = sessionOn(database)
  await session.resume(end(0n), nobody)
  database.before = (what) => {
    if (what !== 'slot' || database.version === 10n) return
    database.before = nobody
    database.storedByAnother(0x2000n)
    database.confirmedFlush = 0x2000n
  }
  await expect(session.claim()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
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

test('a claim alone is enough to go on from memory: nothing has to be stored in between', async () => {
  const database = new ScriptedDatabase()
  database.confirmedFlush = 0xff0n
  const memory = new CheckpointMemory()
  const session = sessionOn(database, memory)
  expect(await session.resume(end(0n), nobody)).toMatchObject({ stored: end(0x1000n), acknowledged: 0xff0n })
  await session.claim()
  expect(await sessionOn(database, memory).resume(end(0x3000n), nobody)).toMatchObject({ remembered: true })
})

test('a claim keeps the rows of the open transaction, so that a crash after it does not repeat them', async () => {
  const database = new ScriptedDatabase()
  database.position = { lsn: 0x1000n, partial: { commitLsn: 0x1800n, rows: 7 } }
  const session = sessionOn(database)
  await session.resume(end(0n), nobody)
  await session.claim()
  expect(database.position).toEqual({ lsn: 0x1000n, partial: { commitLsn: 0x1800n, rows: 7 } })
})

test('a claim after a promotion that cut the open transaction off drops its rows: another may lie there now', async () => {
  const database = new ScriptedDatabase()
  database.position = { lsn: 0x1000n, partial: { commitLsn: 0x1800n, rows: 7 } }
  database.timelines.server = 2
  database.switchLsn = 0x1400n
  const session = sessionOn(database)
  expect(await session.resume(end(0n), nobody)).toMatchObject({ remembered: false, start: end(0x1000n) })
  await session.claim()
  expect([database.position, database.timelines.row]).toEqual([end(0x1000n), 2])
})

test('a table that does not fit keeps the session from starting', async () => {
  const session = sessionOn(new ScriptedDatabase(), new CheckpointMemory(), async () => {
    throw new BridgeError('COLUMN_MISSING', 'scripted')
  })
  await expect(session.resume(end(0n), nobody)).rejects.toMatchObject({ code: 'COLUMN_MISSING' })
})

test('old history goes at the ends of a session and with every thirtieth entry between them', async () => {
  const { database, session } = await afterOneSession()
  let prunes = 0
  database.before = (what) => {
    if (what === 'wal2rabbit_prune_history') prunes++
  }
  await session.recordHistory('start')
  expect(prunes).toBe(1)
  for (let n = 1; n <= 60; n++) await session.recordHistory('interval')
  expect(prunes).toBe(3)
  await session.recordHistory('stop')
  expect(prunes).toBe(4)
  await session.close()
})

test('the connection goes once with the session', async () => {
  const { database, session } = await afterOneSession()
  const said: string[] = []
  database.before = (what) => said.push(what)
  await session.recordHistory('stop')
  expect(said).toEqual(['wal2rabbit_snapshot', 'wal2rabbit_record_history', 'wal2rabbit_prune_history'])
  await session.close()
  await session.close()
  await session.watch()
  expect([database.closed, session.client]).toEqual([1, undefined])
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

test('after a store without an answer, a row that was moved away and back to its position is not ours', async () => {
  const { database, session, resume } = await afterOneSession()
  database.onStore = (apply) => apply()
  await expect(session.store(end(0x2400n), 1)).rejects.toThrow('no answer')
  database.version += 2n
  expect(await resume()).toMatchObject({ remembered: false, start: end(0x2400n) })
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

test('while a rewind is unfinished nobody resumes, in whatever state slot and row are', async () => {
  const database = new ScriptedDatabase()
  database.rewind = true
  for (const slot of ['kept', 'dropped', 'in use'] as const) {
    database.slotExists = slot !== 'dropped'
    database.active = slot === 'in use'
    const failure = await sessionOn(database)
      .resume(end(0n), nobody)
      .then(nobody, (error: BridgeError) => error)
    expect([failure?.code, failure?.action]).toEqual(['REWIND_UNFINISHED', 'halt-retry'])
    expect(failure?.message).toMatch(/slot shop to 0\/800 .*ann@shop1/)
  }
})

// What its intent is written with, in one statement: whoever looked for one before that cannot claim any more.
test('a session that resumed just before a rewind began cannot claim', async () => {
  const database = new ScriptedDatabase()
  const session = sessionOn(database)
  await session.resume(end(0n), nobody)
  database.rewind = true
  database.epoch++
  database.version++
  await expect(session.claim()).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
})

test('an intent that is written before the row is read is seen, one written later fences', async () => {
  const database = new ScriptedDatabase()
  database.before = (what) => {
    if (what !== 'wal2rabbit_load') return
    database.rewind = true
    database.version++
  }
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'REWIND_UNFINISHED' })
})

test.each([
  ['missing', false, 0x1000n],
  ['ahead', true, 0x2000n],
] as const)('a rewind that ends while a session looks at the slot halts nobody: it was %s', async (_, exists, old) => {
  const database = new ScriptedDatabase()
  database.slotExists = exists
  database.confirmedFlush = old
  database.before = (what) => {
    if (what !== 'wal2rabbit_load') return
    database.slotExists = true
    database.confirmedFlush = 0x800n
  }
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'CHECKPOINT_FENCED' })
  database.before = nobody
  expect(await sessionOn(database).resume(end(0n), nobody)).toMatchObject({ acknowledged: 0x800n })
})

test('a slot that is missing, or only moves on, keeps its verdict', async () => {
  const database = new ScriptedDatabase()
  database.slotExists = false
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'SLOT_MISSING' })
  database.slotExists = true
  database.confirmedFlush = 0x2000n
  database.before = () => {
    database.confirmedFlush++
  }
  await expect(sessionOn(database).resume(end(0n), nobody)).rejects.toMatchObject({ code: 'SLOT_AHEAD' })
})
