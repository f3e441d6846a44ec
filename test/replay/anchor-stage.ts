import { resolve } from 'node:path'
import pg from 'pg'
import type { BridgeProcess } from '../support/bridge-process.ts'
import { type PostgresService, sharedRabbit, uniqueName } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

const failPoints = resolve(import.meta.dirname, '../support/fail-points.mjs')

/** A stage in a database of its own on a private server, whose WAL nobody else writes. */
export async function anchorStage(server: PostgresService, env: Record<string, string>): Promise<Stage> {
  const name = uniqueName('anchors').replaceAll('-', '_')
  await ask(server.url, `CREATE DATABASE ${name}`)
  const stage = await Stage.create({ databaseUrl: server.urlFor(name), amqpUrl: sharedRabbit().url, env })
  await stage.query('CREATE TABLE filler (t text)')
  return stage
}

/** Ends the bridge and frees its slots. */
export async function dropStage(stage: Stage): Promise<void> {
  await stage.dispose()
  for (const name of await slotsOf(stage)) await stage.query('SELECT pg_drop_replication_slot($1)', [name])
}

export async function ask(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** Starts it as one that kills itself at a moment: `anchor-created:2`. */
export function startToDie(bridge: BridgeProcess, failPoint: string): void {
  bridge.start(['--import', failPoints], { WAL2RABBIT_FAIL_POINT: failPoint })
}

/** Every slot of the stage's database, the live one too. */
export async function slotsOf(stage: Stage): Promise<string[]> {
  const rows = await stage.query(
    'SELECT slot_name AS name FROM pg_replication_slots WHERE database = current_database() ORDER BY slot_name',
  )
  return rows.map(({ name }) => String(name))
}

/** Anchors with what each keeps, in bytes. */
export async function anchorsOf(stage: Stage): Promise<{ name: string; retained: number }[]> {
  const rows = await stage.query(
    `SELECT slot_name AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 AS retained
     FROM pg_replication_slots WHERE starts_with(slot_name, $1) ORDER BY slot_name`,
    [`${stage.name}_anchor_`],
  )
  return rows.map(({ name, retained }) => ({ name: String(name), retained: Number(retained) }))
}

/** About so many megabytes of WAL of another table. */
export async function writeWal(stage: Stage, megabytes: number): Promise<void> {
  await stage.query('INSERT INTO filler SELECT repeat(md5(n::text), 58) FROM generate_series(1, $1) n', [
    megabytes * 520,
  ])
  await stage.query('TRUNCATE filler')
}

export async function insertEvents(stage: Stage, count: number): Promise<string[]> {
  const rows = await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
     SELECT 'order', n::text, 'placed', '{}' FROM generate_series(1, $1) n RETURNING id`,
    [count],
  )
  return rows.map(({ id }) => String(id))
}

/** Resolves when `look` gives something; rejects after `timeout` milliseconds. */
export async function eventually<T>(look: () => Promise<T | undefined>, what: string, timeout = 20_000): Promise<T> {
  const deadline = Date.now() + timeout
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeout} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
