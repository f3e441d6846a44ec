import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type ConfirmChannel, connect as connectAmqp } from 'amqplib'
import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { isLong } from './length.ts'
import { freshDatabase, sharedPostgres, sharedRabbit, startPostgres, startRabbit, uniqueName } from './services.ts'

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function withChannel<T>(url: string, work: (channel: ConfirmChannel) => Promise<T>): Promise<T> {
  const connection = await connectAmqp(url)
  try {
    return await work(await connection.createConfirmChannel())
  } finally {
    await connection.close()
  }
}

function publish(channel: ConfirmChannel, queue: string, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.sendToQueue(queue, Buffer.from(text), { persistent: true }, (error) => (error ? reject(error) : resolve()))
  })
}

async function take(channel: ConfirmChannel, queue: string): Promise<string | undefined> {
  const message = await channel.get(queue, { noAck: true })
  return message === false ? undefined : message.content.toString()
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Pids of the services' processes below this one; the watchdog ends with its runner and is left out. */
function descendantsOf(root: number): number[] {
  const parents = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => !line.includes('keeper.sh'))
    .map((line) => line.trim().split(/\s+/, 2).map(Number))
  const below = (pid: number): number[] =>
    parents.flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child, ...below(child)] : []))
  return below(root)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // ESRCH: there is no such process.
    return false
  }
}

test('PostgreSQL comes back from a kill with its port, its data and its slot', async () => {
  const postgres = await startPostgres()
  cleanups.push(() => postgres.dispose())
  await query(postgres.url, 'CREATE TABLE kept AS SELECT 1 AS a')
  await query(postgres.url, "SELECT pg_create_logical_replication_slot('kept', 'pgoutput')")
  await postgres.kill()
  expect(await isListening(postgres.port)).toBe(false)
  await postgres.start()
  expect(await query(postgres.url, 'SELECT a FROM kept')).toEqual([{ a: 1 }])
  expect(await query(postgres.url, 'SELECT slot_name FROM pg_replication_slots')).toEqual([{ slot_name: 'kept' }])
})

test('PostgreSQL stops in every mode and starts again', async () => {
  const postgres = await startPostgres()
  cleanups.push(() => postgres.dispose())
  for (const mode of ['fast', 'immediate', 'smart'] as const) {
    await postgres.restart(mode)
    expect(await query(postgres.url, 'SHOW wal_level')).toEqual([{ wal_level: 'logical' }])
  }
})

test('a disposed PostgreSQL leaves neither process nor folder, killed before or not', async () => {
  for (const killFirst of [false, true]) {
    const before = new Set(descendantsOf(process.pid))
    const postgres = await startPostgres()
    const started = descendantsOf(process.pid).filter((pid) => !before.has(pid))
    if (killFirst) await postgres.kill()
    else expect(started.length).toBeGreaterThan(3)
    await postgres.dispose()
    await postgres.dispose()
    const folder = postgres.dataFolder
    if (folder !== undefined) expect(existsSync(dirname(folder))).toBe(false)
    expect(await isListening(postgres.port)).toBe(false)
    await expect.poll(() => started.filter(isAlive), { timeout: 5_000 }).toEqual([])
  }
})

test('lines for pg_hba.conf come before the trust of the helper', async () => {
  const postgres = await startPostgres({ hba: ['host all refused all reject'], settings: { wal_sender_timeout: '4s' } })
  cleanups.push(() => postgres.dispose())
  await query(postgres.url, 'CREATE ROLE refused LOGIN')
  await expect(query(postgres.url.replace('postgres@', 'refused@'), 'SELECT 1')).rejects.toMatchObject({
    code: '28000',
  })
  expect(await query(postgres.url, 'SHOW wal_sender_timeout')).toEqual([{ wal_sender_timeout: '4s' }])
})

test('a paused PostgreSQL is silent and goes on where it was', async () => {
  const postgres = await startPostgres()
  cleanups.push(() => postgres.dispose())
  await postgres.pause()
  cleanups.unshift(() => postgres.resume())
  const client = new pg.Client({ connectionString: postgres.url, connectionTimeoutMillis: 200 })
  await expect(client.connect()).rejects.toThrow(/timeout/)
  await postgres.resume()
  expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
})

test.runIf(isLong)('RabbitMQ comes back from a kill with its port and what its queues hold', async () => {
  const rabbit = await startRabbit()
  cleanups.push(() => rabbit.dispose())
  await withChannel(rabbit.url, async (channel) => {
    for (const type of ['classic', 'quorum', 'stream']) {
      await channel.assertQueue(type, { durable: true, arguments: { 'x-queue-type': type } })
      await publish(channel, type, `kept in ${type}`)
    }
  })
  await rabbit.kill()
  expect(await isListening(rabbit.port)).toBe(false)
  await rabbit.start()
  expect(await rabbit.ctl('list_queues', '--silent', 'name')).toContain('stream')
  await withChannel(rabbit.url, async (channel) => {
    for (const type of ['classic', 'quorum']) expect(await take(channel, type)).toBe(`kept in ${type}`)
  })
})

test.runIf(isLong)('a runner killed with SIGKILL leaves neither process nor folder', async () => {
  const fixture = fileURLToPath(new URL('./fixtures/hold-services.ts', import.meta.url))
  const runner = spawn(process.execPath, ['--import', 'tsx', fixture], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(async () => {
    runner.kill('SIGKILL')
  })
  const [line] = (await once(createInterface({ input: runner.stdout }), 'line')) as [string]
  const { ports, folders }: { ports: number[]; folders: (string | undefined | null)[] } = JSON.parse(line)
  const pids = descendantsOf(runner.pid ?? 0)
  expect(pids.length).toBeGreaterThan(3)
  runner.kill('SIGKILL')
  await expect.poll(() => pids.filter(isAlive), { timeout: 30_000 }).toEqual([])
  for (const port of ports) await expect.poll(() => isListening(port), { timeout: 30_000 }).toBe(false)
  for (const folder of folders) if (folder) await expect.poll(() => existsSync(dirname(folder))).toBe(false)
})

test('a fresh database can be dropped while its slot is streamed from', async () => {
  const database = await freshDatabase()
  const slot = uniqueName('held')
  await query(database.url, `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`)
  const client = new pg.Client({ connectionString: `${database.url}?replication=database` })
  client.on('error', () => {})
  await client.connect()
  const stream = client.query(
    `START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names 'none')`,
  )
  stream.catch(() => {})
  const active = `SELECT active FROM pg_replication_slots WHERE slot_name = '${slot}'`
  await expect.poll(() => query(sharedPostgres().url, active)).toEqual([{ active: true }])
  await database.drop()
  expect(await query(sharedPostgres().url, active)).toEqual([])
})

test('rabbitmqctl can be run against the shared broker', async () => {
  expect(await sharedRabbit().ctl('eval', 'rabbit_misc:version().')).toContain(sharedRabbit().version)
})
