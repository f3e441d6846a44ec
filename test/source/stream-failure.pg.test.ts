import { afterEach, expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { clientConfigFromUrl } from '../../src/base/postgres-url.ts'
import { PgoutputDecoder } from '../../src/source/pgoutput.ts'
import { ReplicationStream } from '../../src/source/replication-stream.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { eventually, fromSlot, openStage, type SourceStage } from './source-stage.ts'

let stage: SourceStage | undefined
let proxy: TcpProxy | undefined
const open = async () => {
  stage = await openStage()
  return stage
}
const openBehindProxy = async () => {
  const opened = await open()
  proxy = await startTcpProxy(opened.url)
  return { ...opened, proxy, connection: clientConfigFromUrl(proxy.urlFor(opened.url)) }
}
afterEach(async () => {
  await stage?.close()
  await proxy?.close()
  proxy = undefined
})

const terminate = 'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1'

test('a terminated walsender is reported once, after all that came before it', async () => {
  const { sql, read, client, slot } = await open()
  await sql('INSERT INTO outbox VALUES (1)')
  const reader = await read()
  await reader.until(() => reader.rows.length === 1)
  await client.query(terminate, [slot])
  expect(await reader.end()).toMatchObject({ action: 'retry' })
  await reader.source.stop()
  expect(reader.ends).toHaveLength(1)
})

test('a walsender that is terminated while nobody reads is noticed by the next status updates', async () => {
  const { read, client, slot } = await open()
  const reader = await read(fromSlot, { statusInterval: 50 })
  reader.source.pause()
  await client.query(terminate, [slot])
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
})

test('a connection that is reset is reported once', async () => {
  const { read, connection, proxy } = await openBehindProxy()
  const reader = await read(fromSlot, { connection })
  proxy.reset()
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  expect(reader.ends).toHaveLength(1)
})

test('keep-alives are answered while nobody reads, and nothing is lost or acknowledged meanwhile', async () => {
  const { sql, read, confirmedFlush } = await open()
  const before = await confirmedFlush()
  // Our own silence must not count as the server's: nobody would vouch for the walsender.
  const reader = await read(fromSlot, { walSenderTimeout: 2000, isWalsenderAlive: async () => false })
  reader.source.pause()
  await sql("INSERT INTO outbox SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
  // Twice wal_sender_timeout: time itself is what is tested here.
  await new Promise((resolve) => setTimeout(resolve, 4500))
  expect(reader.ends).toEqual([])
  expect(reader.rows).toEqual([])
  expect(await confirmedFlush()).toBe(before)
  reader.source.resume()
  await reader.until(() => reader.rows.length === 20_000)
})

test('an idle stream outlives wal_sender_timeout', async () => {
  const { sql, read } = await open()
  const reader = await read(fromSlot, { walSenderTimeout: 500 })
  await new Promise((resolve) => setTimeout(resolve, 1500))
  await sql('INSERT INTO outbox VALUES (1)')
  await reader.until(() => reader.rows.length === 1)
  expect(reader.ends).toEqual([])
})

test('silence and a walsender that is gone end the session', async () => {
  const { read, connection, proxy } = await openBehindProxy()
  const reader = await read(fromSlot, { connection, walSenderTimeout: 1000, isWalsenderAlive: async () => false })
  proxy.blackhole('to-client')
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_SILENT' })
})

test('silence ends the session when nobody can tell whether the walsender is alive', async () => {
  const { read, connection, proxy } = await openBehindProxy()
  const isWalsenderAlive = () => Promise.reject(new Error('the control connection is cut too'))
  const reader = await read(fromSlot, { connection, walSenderTimeout: 1000, isWalsenderAlive })
  proxy.blackhole('to-client')
  expect(await reader.end()).toMatchObject({ code: 'SOURCE_SILENT' })
})

test('silence of a walsender that is at work is endured', async () => {
  const { read, connection, proxy, sql } = await openBehindProxy()
  const asked: number[] = []
  const isWalsenderAlive = async (pid: number) => {
    asked.push(pid)
    return true
  }
  const reader = await read(fromSlot, { connection, walSenderTimeout: 800, isWalsenderAlive })
  proxy.blackhole('to-client')
  await eventually(async () => asked.length >= 3)
  expect(reader.ends).toEqual([])
  proxy.heal()
  await sql('INSERT INTO outbox VALUES (1)')
  await reader.until(() => reader.rows.length === 1)
  expect(asked[0]).toBeGreaterThan(0)
})

test('stop is bounded in time on a connection that is dead without a word', async () => {
  const { read, connection, proxy } = await openBehindProxy()
  const reader = await read(fromSlot, { connection })
  proxy.blackhole()
  const began = performance.now()
  await reader.source.stop()
  expect(performance.now() - began).toBeLessThan(4000)
  expect(reader.ends).toEqual([undefined])
})

test('stop while connecting is bounded in time, and start rejects', async () => {
  const { make, connection, proxy } = await openBehindProxy()
  proxy.blackhole()
  const reader = make({ connection })
  const started = reader.start(fromSlot)
  const refused = expect(started).rejects.toMatchObject({ code: 'SOURCE_CONNECTION_LOST' })
  await eventually(async () => proxy.connections() === 1)
  await reader.source.stop()
  await refused
  expect(reader.ends).toEqual([])
})

test('a server that takes the connection and says nothing is given up after the connect timeout', async () => {
  const { make, connection, proxy } = await openBehindProxy()
  proxy.blackhole()
  const reader = make({ connection: { ...connection, connectionTimeoutMillis: 300 } })
  await expect(reader.start(fromSlot)).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
})

test('an exception while a message is read ends the session, not the process', async () => {
  const { sql, url, slot } = await open()
  await sql('INSERT INTO outbox VALUES (1)')
  let end: (error: BridgeError | undefined) => void = () => {}
  const ended = new Promise<BridgeError | undefined>((resolve) => {
    end = resolve
  })
  let payloads = 0
  const stream = new ReplicationStream(
    {
      connection: clientConfigFromUrl(url),
      slot,
      decoder: new PgoutputDecoder({ publication: 'the pub', table: { schema: 'public', name: 'outbox' } }),
    },
    {
      onPayload: () => {
        payloads++
        throw new BridgeError('SOURCE_PROTOCOL', 'made up')
      },
      onKeepalive: () => {},
      onEnd: (error) => end(error),
    },
  )
  await stream.start(0n)
  stream.resume()
  expect(await ended).toMatchObject({ code: 'SOURCE_PROTOCOL', message: 'made up' })
  expect(payloads).toBe(1)
})

test('a handler that throws ends the session, not the process', async () => {
  const { sql, read } = await open()
  const reader = await read()
  let calls = 0
  reader.onBatch = () => {
    calls++
    throw new Error('made up')
  }
  await sql('INSERT INTO outbox VALUES (1)')
  expect(await reader.end()).toMatchObject({ code: 'UNKNOWN', message: 'made up' })
  expect(calls).toBe(1)
})

test('a publication that is missing ends the session at the first change', async () => {
  const { sql, read, client } = await open()
  const { rows } = await client.query("SELECT current_setting('server_version_num')::int AS version")
  await sql('DROP PUBLICATION "the pub"', 'INSERT INTO outbox VALUES (1)')
  const reader = await read()
  expect(await reader.end(), `server ${rows[0].version}`).toMatchObject({ code: 'PUBLICATION_MISSING' })
})

test('a second session on the slot is told that it is active', async () => {
  const { read } = await open()
  await read()
  await expect(read()).rejects.toMatchObject({ code: 'SLOT_ACTIVE', action: 'standby' })
})

test('a missing slot, database or server, or a slot of another plugin: start rejects with its code', async () => {
  const { read, url, sql, slot } = await open()
  const connection = clientConfigFromUrl(url)
  await expect(read(fromSlot, { slot: 'source_nobody' })).rejects.toMatchObject({ code: 'SLOT_MISSING' })
  await expect(read(fromSlot, { connection: { ...connection, database: 'nobody' } })).rejects.toMatchObject({
    code: 'SOURCE_DATABASE_MISSING',
  })
  await expect(read(fromSlot, { connection: { ...connection, port: 1 } })).rejects.toMatchObject({
    code: 'SOURCE_UNREACHABLE',
  })
  await expect(read(fromSlot, { connection: { ...connection, ssl: true } })).rejects.toMatchObject({
    code: 'SOURCE_TLS_FAILED',
  })
  await sql(`CREATE ROLE ${slot} LOGIN`)
  try {
    await expect(read(fromSlot, { connection: { ...connection, user: slot } })).rejects.toMatchObject({
      code: 'SOURCE_PERMISSION_DENIED',
    })
  } finally {
    await sql(`DROP ROLE ${slot}`)
  }
})

test('a slot can be streamed again at once after a stop', async () => {
  const { read } = await open()
  for (let round = 0; round < 5; round++) {
    const reader = await read()
    await reader.source.stop()
  }
})
