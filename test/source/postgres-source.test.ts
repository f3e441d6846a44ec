import { afterEach, expect, test } from 'vitest'
import { PostgresSource } from '../../src/source/postgres-source.ts'
import { keepalive, message, notice, type Script, ScriptedPostgres, walData } from './scripted-postgres.ts'
import { SourceReader } from './source-stage.ts'

let server: ScriptedPostgres | undefined
let reader: SourceReader | undefined
afterEach(async () => {
  await reader?.source.stop()
  server?.close()
})

async function start(script: Script = {}) {
  server = new ScriptedPostgres(script)
  reader = new SourceReader(
    new PostgresSource({
      connection: await server.listen(),
      slot: 'slot',
      plugin: 'pgoutput',
      publication: 'publication',
      table: { schema: 'public', name: 'outbox' },
      isWalsenderAlive: async () => true,
      statusInterval: 60_000,
    }),
  )
  await reader.start({ lsn: 0n, partial: null })
  return { server, reader }
}

test('a message that nobody knows ends the session, not the process', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(keepalive(0x200n, false), walData(Buffer.from('?')), keepalive(0x300n, false))
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_PROTOCOL' })
  // What came before it was handed on, what came after it was not.
  expect(reader.events).toEqual([{ kind: 'idle', walEnd: 0x200n }])
})

test.each([
  ['XLogData that is cut short', Buffer.from('w\0\0')],
  ['XLogData without a payload', Buffer.alloc(25, 'w')],
  ['a keep-alive that is cut short', Buffer.alloc(17, 'k')],
  ['a frame of another kind', Buffer.alloc(40, 'z')],
  ['an empty frame', Buffer.alloc(0)],
])('%s ends the session, not the process', async (_, frame) => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(keepalive(0x200n, false), message('d', frame), keepalive(0x300n, false))
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_PROTOCOL' })
  expect(reader.events).toEqual([{ kind: 'idle', walEnd: 0x200n }])
})

test('what comes in one piece with the start of the stream waits for the first resume', async () => {
  const { reader } = await start({ atStart: keepalive(0x200n, false) })
  await new Promise((resolve) => setImmediate(resolve))
  expect(reader.batches).toEqual([])
  reader.source.resume()
  await reader.until(() => reader.events.length === 1)
})

test('what comes in one chunk is handed on in one piece and in order', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(...[1, 2, 3].map((n) => keepalive(0x200n + BigInt(n), false)))
  await reader.until(() => reader.events.length === 3)
  expect(reader.batches).toEqual([3])
})

test('a storm of keep-alives that ask for a reply is answered now and then', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  const began = performance.now()
  while (server.flushed.length < 5) {
    server.send(...Array.from({ length: 100 }, () => keepalive(0x200n, true)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(server.flushed.length).toBeLessThanOrEqual((performance.now() - began) / 20 + 1)
  expect(new Set(server.flushed)).toEqual(new Set([0n]))
})

test('a new stored LSN is told soon, and many of them in few updates', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(keepalive(0x900n, false))
  await reader.until(() => reader.events.length === 1)
  for (let stored = 0x200n; stored <= 0x300n; stored++) reader.source.acknowledge(stored)
  await server.statusUpdates(1)
  expect(server.flushed).toEqual([0x300n])
})

// Between this and the claim of the checkpoint a rewind may have put another slot in its place.
test('before something was stored in this session the slot is told no position, whatever it was told before', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(keepalive(0x200n, true))
  await reader.until(() => reader.events.length === 1)
  await server.statusUpdates(1)
  await reader.source.stop()
  expect(new Set(server.flushed)).toEqual(new Set([0n]))
})

test('stop sends the last acknowledgement, then ends the stream in order, then the connection', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(keepalive(0x900n, false))
  await reader.until(() => reader.events.length === 1)
  reader.source.acknowledge(0x800n)
  const told = server.flushed.length
  await reader.source.stop()
  expect(server.flushed.slice(told)).toEqual([0x800n])
  expect(server.kinds).toMatch(/^QQd+cX$/)
})

test('stop is bounded in time when the server does not close the connection', async () => {
  const { reader } = await start({ hangs: true })
  const began = performance.now()
  await reader.source.stop()
  expect(performance.now() - began).toBeLessThan(3000)
  expect(reader.ends).toEqual([undefined])
})

test('the warning that a publication is left out ends the session: PostgreSQL 18 goes on without its changes', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  server.send(notice('N', { S: 'WARNING', C: '55000', M: 'skipped loading publication "p"', R: 'LoadPublications' }))
  expect(await reader.end()).toMatchObject({ code: 'PUBLICATION_MISSING' })
})

test('an error of the server in the middle of the stream is reported with its code', async () => {
  const { server, reader } = await start()
  reader.source.resume()
  const fields = { S: 'ERROR', C: '55000', M: 'can no longer get changes from replication slot "slot"' }
  server.send(notice('E', fields))
  expect(await reader.end()).toMatchObject({ code: 'SLOT_INVALIDATED' })
})
