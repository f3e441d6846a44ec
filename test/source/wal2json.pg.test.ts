import { afterEach, beforeAll, expect, test } from 'vitest'
import { ensureWal2json } from '../support/services.ts'
import type { SourceReader, SourceStage } from './source-stage.ts'
import { openStage } from './source-stage.ts'

let wal2json: { available: boolean; reason: string }
let stage: SourceStage | undefined
beforeAll(async () => {
  wal2json = await ensureWal2json()
})
afterEach(() => stage?.close())

const columns = `id int, small int2, big int8, exact numeric, inexact float8, yes bool, words text, short varchar(9),
  padded char(4), body jsonb, plain json, raw bytea, at timestamptz, nothing text, list int[], key uuid, seen xid8`

const values = `-7, 32767, 9223372036854775807, 12345678901234567890.10, 1e300, true,
  E'quote " backslash \\\\ slash / newline \\n tab \\t bell \\x07 é 😀 \\u2028', 'v', 'ab',
  '{"big": 9007199254740993, "text": "\\u00e9😀\\n\\"", "n": 1.10, "deep": {"a": [null, true]}}',
  '{ "k" :1,  "k": 2 }', '\\x00ff5c41', '2026-01-31 23:59:59.123456+02', NULL, '{1,2}',
  '7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b', '728'`

async function allColumns(opened: SourceStage): Promise<(string | null)[]> {
  await opened.sql(
    'SET timezone = UTC',
    'SET datestyle = ISO',
    'SET intervalstyle = postgres',
    `INSERT INTO outbox VALUES (${values})`,
  )
  const names = columns.split(',').map((column) => column.trim().split(' ')[0]!)
  const list = names.map((name) => (name === 'yes' ? `CASE WHEN yes THEN 't' ELSE 'f' END` : `format('%s', ${name})`))
  const { rows } = await opened.client.query({ text: `SELECT ${list.join(', ')} FROM outbox`, rowMode: 'array' })
  return (rows[0] as string[]).map((text, index) => (names[index] === 'nothing' ? null : text))
}

async function firstRow(opened: SourceStage): Promise<SourceReader> {
  const reader = await opened.read()
  await reader.until(() => reader.events.some((event) => event.kind === 'row'))
  return reader
}

test.for(['pgoutput', 'wal2json'] as const)(
  'every type of column arrives as the very text that PostgreSQL prints: %s',
  async (plugin, context) => {
    if (plugin === 'wal2json' && !wal2json.available) return context.skip(wal2json.reason)
    stage = await openStage({ plugin, columns })
    const expected = await allColumns(stage)
    const reader = await firstRow(stage)
    const row = reader.rows[0]!
    const texts = row.relation.columns.map((_, index) => row.tuple.text(index))
    expect(texts).toEqual(expected)
    const bytes = row.relation.columns.map((_, index) => row.tuple.bytes(index)?.toString('utf8') ?? null)
    expect(bytes).toEqual(expected)
    expect(row.relation.columns.map((column) => column.type).join()).toBe(
      'int4,int2,int8,numeric,float8,bool,text,varchar,bpchar,jsonb,json,bytea,timestamptz,text,_int4,uuid,xid8',
    )
  },
)

test('both plugins give a transaction the same positions and times', async (context) => {
  if (!wal2json.available) return context.skip(wal2json.reason)
  stage = await openStage({ plugin: 'wal2json' })
  const other = `${stage.slot.slice(0, 40)}_b`
  await stage.sql(
    `SELECT pg_create_logical_replication_slot('${other}', 'pgoutput')`,
    'INSERT INTO outbox VALUES (1), (2)',
    'CREATE TABLE unrelated (id int)',
    'INSERT INTO unrelated VALUES (1)',
    'INSERT INTO outbox VALUES (3)',
  )
  const readers = [await stage.read(), await stage.read(undefined, { slot: other, plugin: 'pgoutput' })]
  const seen = []
  for (const reader of readers) {
    await reader.until(() => reader.rows.length === 3 && reader.events.at(-1)?.kind !== 'row')
    const withRows = new Set(reader.rows.map((row) => row.transaction.commitLsn))
    seen.push([
      reader.rows.map((row) => [row.transaction, row.ordinal, row.tuple.text(0)]),
      reader.events.filter((event) => event.kind === 'commit' && withRows.has(event.commitLsn)),
    ])
  }
  expect(seen[0]).toEqual(seen[1])
})

test('wal2json: columns added, dropped and renamed while streaming, and other statements, do not disturb', async (context) => {
  if (!wal2json.available) return context.skip(wal2json.reason)
  stage = await openStage({ plugin: 'wal2json' })
  const reader = await stage.read()
  await stage.sql(
    "INSERT INTO outbox VALUES (1, 'a')",
    'UPDATE outbox SET id = 9',
    'TRUNCATE outbox',
    'ALTER TABLE outbox ADD COLUMN extra int DEFAULT 5',
    'ALTER TABLE outbox DROP COLUMN id',
    'ALTER TABLE outbox RENAME COLUMN payload TO body',
    "INSERT INTO outbox VALUES ('b')",
  )
  await reader.until(() => reader.rows.length === 2)
  expect(
    reader.rows.map((row) => row.relation.columns.map((column, index) => `${column.name} ${row.tuple.text(index)}`)),
  ).toEqual([
    ['id 1', 'payload a'],
    ['body b', 'extra 5'],
  ])
})

test('wal2json: a database that is not in UTF-8 is refused, for its text is not converted', async (context) => {
  if (!wal2json.available) return context.skip(wal2json.reason)
  stage = await openStage({ plugin: 'wal2json' })
  const { sql, read, slot, url } = stage
  const latin = `${slot.slice(0, 40)}_latin`
  await sql(`CREATE DATABASE ${latin} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
  try {
    const parts = new URL(url)
    const connection = { host: parts.hostname, port: Number(parts.port), user: parts.username, database: latin }
    await expect(read(undefined, { connection })).rejects.toMatchObject({ code: 'SOURCE_ENCODING' })
  } finally {
    await sql(`DROP DATABASE ${latin} WITH (FORCE)`)
  }
})
